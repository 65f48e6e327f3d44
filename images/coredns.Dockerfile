# The DNS of the local cluster. The build context holds the static binary coredns.
FROM scratch
COPY coredns /
USER 65532:65532
ENTRYPOINT ["/coredns"]
