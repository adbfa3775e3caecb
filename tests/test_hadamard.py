"""Time-encoded labelling: encode, decode, and the times of the blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.linalg import hadamard

from cereflow_bids.perfusion.hadamard import block_delays, decode, decoded_sign, sylvester_signs
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme


def encode(differences, signs, control=1000.0):
    """Each block that is label lowers the volume by its own difference."""
    return control - differences @ (np.asarray(signs) == -1).T


@given(data=st.data(), size=st.sampled_from([4, 8]))
def test_decoding_undoes_encoding(data, size):
    rows = data.draw(st.permutations(range(size)))
    columns = data.draw(st.permutations(range(1, size)))
    blocks = data.draw(st.integers(1, size - 1))
    signs = hadamard(size)[rows][:, columns[:blocks]]
    truth = data.draw(arrays(float, (2, 3, blocks), elements=st.floats(-20, 20)))
    assert_allclose(decode(encode(truth, signs), signs), truth, atol=1e-9)


def test_seven_delays_of_eight_encodings():
    """Blocks that shorten towards the readout; a scheme of one τ and one PLD for each."""
    blocks = (1.18, 0.68, 0.48, 0.37, 0.30, 0.26, 0.22)
    delays = block_delays(blocks, 1.0)
    assert_allclose(delays, (3.31, 2.63, 2.15, 1.78, 1.48, 1.22, 1.0))
    scheme = LabelingScheme("PCASL", delays, blocks, 0.85, 1.65)
    # As the scanner sees it: a label of 3.49 s in one piece is the sum of its blocks.
    whole = LabelingScheme("PCASL", (1.0,), (sum(blocks),), 0.85, 1.65)
    truth = tissue_response(scheme, [0.8, 1.4, 2.4])
    assert_allclose(truth.sum(axis=1), tissue_response(whole, [0.8, 1.4, 2.4])[:, 0])
    signs = sylvester_signs(8)
    assert signs.shape == (8, 7)
    assert_allclose(decode(encode(truth, signs), signs), truth, atol=1e-9)


def test_noise_is_averaged_over_all_encodings():
    noise = np.random.default_rng(0).normal(size=(20000, 8)).astype(np.float32)
    decoded = decode(noise, sylvester_signs(8))
    assert decoded.dtype == np.float32
    assert_allclose(decoded.var(axis=0), 4 / 8, rtol=0.05)


def test_exchanged_signs_are_seen_in_grey_matter():
    signs, grey = sylvester_signs(4), np.array([True, True, False])
    encoded = encode(np.array([[5.0, 8, 2], [4, 9, 3], [-90, -90, -90]]), signs)
    assert decoded_sign(decode(encoded, signs), grey) == 1
    assert decoded_sign(decode(encoded, -signs), grey) == -1
    with pytest.raises(ValueError, match="cannot be checked"):
        decoded_sign(decode(encoded, signs), np.zeros(3, bool))
    with pytest.raises(ValueError, match="cannot be checked"):
        decoded_sign(np.full((3, 3), np.nan), grey)


@pytest.mark.parametrize(
    ("signs", "message"),
    [
        (hadamard(4), "belongs to no block"),
        (hadamard(4)[:, [1, 1]], "orthogonal"),
        (hadamard(4)[:, 1:] == 1, "must be"),
        (hadamard(8)[:, 1:], "shape"),
    ],
)
def test_matrices_that_cannot_be_decoded_are_refused(signs, message):
    with pytest.raises(ValueError, match=message):
        decode(np.ones((2, 4)), signs)


@pytest.mark.parametrize(("blocks", "final"), [((), 1), ((1, 0), 1), ((1,), -1), ((1,), np.nan)])
def test_impossible_blocks_are_refused(blocks, final):
    with pytest.raises(ValueError, match="must be"):
        block_delays(blocks, final)


@pytest.mark.parametrize("size", [0, 1, 6, 12])
def test_sylvester_knows_powers_of_two_only(size):
    with pytest.raises(ValueError, match="power of 2"):
        sylvester_signs(size)
