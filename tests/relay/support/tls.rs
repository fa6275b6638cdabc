//! What stands in front of a relay on the internet, as small as it can be: takes TLS off and passes the
//! bytes on, in both directions, without understanding any. Its certificate comes from an authority that
//! is made for it and forgotten with it; a client trusts it by being told its file.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A proxy that listens until it is dropped.
pub struct TlsProxy {
    address: SocketAddr,
    /// The authority's certificate.
    authority: NamedTempFile,
    /// Nothing is ever sent: the proxy ends when this is dropped.
    _open: oneshot::Sender<()>,
}

impl TlsProxy {
    /// A proxy in front of whoever listens there.
    pub fn before(server: SocketAddr) -> Self {
        Self::showing(&certificate("127.0.0.1"), server)
    }

    /// The same with another certificate.
    pub fn showing(about: &CertificateParams, server: SocketAddr) -> Self {
        let authority = Authority::new();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), authority.0.pem()).unwrap();
        let (open, closed) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(authority.certified(about));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(&listener, &acceptor, server) => {}
                    _ = closed => {}
                }
            });
        });
        Self {
            address,
            authority: file,
            _open: open,
        }
    }

    /// Where it listens, as it is written in front of a path.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file that a client has to trust, in PEM.
    pub fn authority(&self) -> &Path {
        self.authority.path()
    }
}

async fn serve(listener: &TcpListener, acceptor: &TlsAcceptor, server: SocketAddr) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that trusts somebody else leaves here; that is its own affair.
            let Ok(mut client) = acceptor.accept(client).await else {
                return;
            };
            let mut server = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// What a certificate for a name says.
pub fn certificate(name: &str) -> CertificateParams {
    let mut about = CertificateParams::new([name.to_owned()]).unwrap();
    about.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    about.use_authority_key_identifier_extension = true;
    about
}

/// Who vouches for the proxy.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        about.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        about
            .distinguished_name
            .push(DnType::CommonName, "Trusted by nobody but a test");
        let issuer = CertifiedIssuer::self_signed(about, KeyPair::generate().unwrap());
        Self(issuer.unwrap())
    }

    /// What the proxy shows, and the key to it.
    fn certified(&self, about: &CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = about.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            );
        Arc::new(config.unwrap())
    }
}
