# The build context holds the release binaries trellis-worker and trellis, libtorch/ (the files of the folder that
# scripts/libtorch.sh prints, cp -L), and the library that scripts/onnxruntime.sh prints. For GPUs: --target cuda, and the context also holds cuda/ (see README.md).
# Binaries come last, so that a changed one does not repack the libraries.
FROM debian:bookworm-slim AS libtorch
# Threads that spin while they wait for each other cost most of the time on a node that others use, too.
ENV OMP_WAIT_POLICY=passive
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
COPY libtorch/ /usr/local/lib/libtorch/
COPY libonnxruntime.so /usr/local/lib/
ENV ORT_DYLIB_PATH=/usr/local/lib/libonnxruntime.so
RUN echo /usr/local/lib/libtorch >/etc/ld.so.conf.d/libtorch.conf && ldconfig

FROM libtorch AS cuda
COPY cuda/ /usr/local/lib/libtorch/
RUN ldconfig
COPY trellis-worker trellis /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/trellis-worker"]

FROM libtorch AS cpu
COPY trellis-worker trellis /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/trellis-worker"]
