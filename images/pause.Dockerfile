# The sandbox of the local cluster's pods: a process that waits, and reaps the pod's orphans.
# The build context holds Debian's static catatonit.
FROM scratch
COPY catatonit /
USER 65532:65532
ENTRYPOINT ["/catatonit", "-P"]
