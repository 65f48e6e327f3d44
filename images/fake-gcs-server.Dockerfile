# A Cloud Storage emulator for tests and the demo. The build context holds the static binary fake-gcs-server.
FROM scratch
COPY fake-gcs-server /
USER 65532:65532
EXPOSE 4443
ENTRYPOINT ["/fake-gcs-server", "-backend", "memory", "-scheme", "http", "-port", "4443"]
