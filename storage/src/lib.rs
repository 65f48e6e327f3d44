//! Objects at gs://, file:// and guarded https:// addresses.
