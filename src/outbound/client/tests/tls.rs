//! Certificates: with an authority that is trusted, it is the name and the time that a handshake fails for.

use std::error::Error as _;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;

const NAME: &str = "receiver.example";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut about = CertificateParams::default();
    about.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    about.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    about.distinguished_name.push(DnType::CommonName, name);
    Authority::self_signed(about, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// A receiver that shows this certificate, and answers 204 to whom it satisfies.
async fn showing(about: CertificateParams, authority: &Authority) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = about.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let (url, _) = receiver(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            stream.read_u8().await?;
            stream.write_all(b"HTTP/1.1 204 Done\r\n\r\n").await?;
            // Until the client leaves.
            stream.read_to_end(&mut Vec::new()).await
        }
    })
    .await;
    let url = url.replace("http:", "https:");
    url.replace("127.0.0.1", NAME)
}

/// A client that trusts this authority, and nobody else.
fn trusting(authority: &Authority) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let trust = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let resolver = Scripted(Mutex::new(vec!["127.0.0.1"]));
    let connector = Connector::new(guard(LOOPBACK), resolver, sockets());
    Client::over(connector, trust)
}

/// Everything that the operator's log could say of it.
fn causes(error: &SendError) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[tokio::test]
async fn a_certificate_must_be_for_the_name_in_its_time_and_by_somebody_trusted() {
    let [ours, foreign] = ["ours", "foreign"].map(authority);
    let mut expired = certificate(NAME);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut early = certificate(NAME);
    early.not_before = date_time_ymd(4000, 1, 1);
    for (about, by, expected) in [
        (certificate(NAME), &ours, Ok(204)),
        (
            certificate("other.example"),
            &ours,
            Err("not valid for name"),
        ),
        (certificate("127.0.0.1"), &ours, Err("not valid for name")),
        (expired, &ours, Err("expired")),
        (early, &ours, Err("not valid yet")),
        (certificate(NAME), &foreign, Err("UnknownIssuer")),
    ] {
        let url = showing(about, by).await;
        let reply = trusting(&ours).send(outgoing(&url)).await.reply;
        match (reply, expected) {
            (Ok(reply), Ok(status)) => assert_eq!(reply.status, status),
            (Err(error), Err(cause)) => {
                assert_eq!(error.class(), "tls", "{cause}");
                assert_eq!(error.to_string(), "TLS handshake failed");
                let causes = causes(&error);
                assert!(causes.contains(cause), "{cause}: {causes}");
            }
            (reply, expected) => panic!("{reply:?} in place of {expected:?}"),
        }
    }
}
