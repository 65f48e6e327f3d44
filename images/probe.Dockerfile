# A shell for tests of the local cluster itself. The build context is empty.
FROM debian:bookworm-slim
USER 65532:65532
CMD ["bash"]
