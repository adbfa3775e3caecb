# cereflow in a container. What each step does is in scripts/container_*.sh, which singularity.def runs, too.
# To hold to one very image, append its digest:
#   --build-arg BASE=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
ARG BASE=debian:bookworm-20260824-slim

FROM ${BASE} AS system
# A time for whatever would otherwise record the hour of the build.
ARG SOURCE_DATE_EPOCH=1577836800
COPY scripts/container_system.sh scripts/system_libraries.sh /build/scripts/
RUN bash /build/scripts/container_system.sh && rm -r /build

FROM system AS builder
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY scripts/container_python.sh scripts/locked_subset.py scripts/
RUN bash scripts/container_python.sh /opt/cereflow /build/tools
COPY README.md LICENSE ./
COPY scripts/container_package.sh scripts/container_inventory.py scripts/container_selftest.py scripts/
COPY heuristics heuristics
COPY derivatives_spec derivatives_spec
COPY cereflow_bids cereflow_bids
RUN bash scripts/container_package.sh /opt/cereflow /build/tools

FROM system
COPY --from=builder /opt/cereflow /opt/cereflow
# Nothing is written beside the programs or in HOME, which may be absent or read-only: caches go to /tmp.
ENV PATH=/opt/cereflow/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    NO_ET=1 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/cereflow-matplotlib \
    NIPYPE_CONFIG_DIR=/tmp/cereflow-nipype \
    XDG_CACHE_HOME=/tmp/cereflow-cache \
    DENO_DIR=/tmp/cereflow-deno \
    TEMPLATEFLOW_HOME=/templateflow \
    TEMPLATEFLOW_AUTOUPDATE=off
LABEL org.opencontainers.image.title="cereflow" \
      org.opencontainers.image.description="Vendor ASL DICOM to BIDS, CBF maps, reports and cohort tables" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="debian:bookworm-20260824-slim"
# The default of --work-dir is ./work, which has to be somewhere where any user may write.
WORKDIR /tmp
ENTRYPOINT ["cereflow"]
