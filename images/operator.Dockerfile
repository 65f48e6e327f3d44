# The build context holds the release binary trellis-operator.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY trellis-operator /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/trellis-operator"]
