//! The service's own certificate, and its renewal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::watch;

use crate::reload;

/// Why the API cannot be served with TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the TLS file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The files are no certificate and its key.
    #[error("{cert} and {key} are not a certificate and its private key in PEM: {source}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: std::io::Error,
    },
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// The certificate, with those up to its authority's.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

#[derive(PartialEq, Eq)]
struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A key is in no log.
impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pair")
    }
}

/// TLS with the certificate in `files`, and the future that brings in each that replaces it. Connections that are open go on with the one that
/// they began with.
pub(crate) async fn watch(files: Files) -> Result<(RustlsConfig, impl Future<Output = ()> + Send), TlsError> {
    let read = {
        let files = files.clone();
        move || files.read()
    };
    let (pairs, reload) = reload::watch("TLS files", read)?;
    let first = pairs.borrow().clone();
    let config = RustlsConfig::from_pem(first.cert.clone(), first.key.clone()).await;
    let config = config.map_err(|source| files.no_pair(source))?;
    let renewed = renew(files, pairs, config.clone());
    Ok((config, async move {
        tokio::join!(reload, renewed);
    }))
}

/// While the two files are written one after the other they are no pair, and the one before them stays.
async fn renew(files: Files, mut pairs: watch::Receiver<Arc<Pair>>, config: RustlsConfig) {
    while pairs.changed().await.is_ok() {
        let pair = pairs.borrow_and_update().clone();
        match config.reload_from_pem(pair.cert.clone(), pair.key.clone()).await {
            Ok(()) => tracing::info!("the certificate was renewed"),
            Err(source) => {
                let error = files.no_pair(source);
                tracing::error!(%error, "keeping the certificate as it was");
            }
        }
    }
}

impl Files {
    fn read(&self) -> Result<Pair, TlsError> {
        Ok(Pair { cert: read(&self.cert)?, key: read(&self.key)? })
    }

    fn no_pair(&self, source: std::io::Error) -> TlsError {
        TlsError::Pair { cert: self.cert.clone(), key: self.key.clone(), source }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
