# The build context holds the release binaries trellis-worker and trellis, and libtorch/ (scripts/libtorch.sh; copy its lib/ with `cp -L`).
# For GPUs: --build-arg ACCELERATOR=cuda, and the context also holds cuda/ (images/README.md).
ARG ACCELERATOR=cpu

FROM debian:bookworm-slim AS cpu
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
COPY libtorch/ /usr/local/lib/libtorch/
RUN echo /usr/local/lib/libtorch >/etc/ld.so.conf.d/libtorch.conf && ldconfig

FROM cpu AS cuda
COPY cuda/ /usr/local/lib/libtorch/
RUN ldconfig

# Last, so that a changed binary does not repack the libraries.
FROM ${ACCELERATOR}
COPY trellis-worker trellis /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/trellis-worker"]
