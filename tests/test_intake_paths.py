"""Datasets and archives in folders with names that people give them."""

import shutil
from pathlib import Path

import pytest
from bids_validation import validator_errors

from cereflow_bids.cli.convert import main


@pytest.mark.parametrize("name", ["my study", "脑 灌注"])
def test_spaces_and_chinese_in_paths(data_dir: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    archive = folder / "my scan.zip"
    shutil.copyfile(data_dir / "zips" / "siemens_xa30_asl2d_t1.zip", archive)
    assert main([str(archive), str(folder / "bids"), "--quiet"]) == 0
    assert (folder / "bids/sub-01/perf/sub-01_asl.nii.gz").is_file()
    assert not validator_errors(folder / "bids")
