//! The guard: which addresses, names, ports and schemes may be reached.
//!
//! It is asked twice: when a URL is saved, so that a mistake is told at once,
//! and at every connection on the addresses a name resolved to, which is what
//! protects. It never resolves a name and never opens a connection itself.
//!
//! Invariants: what is not public is forbidden unless `outbound.allow` lists
//! it; what is said about a forbidden address is always the same sentence.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The longest URL a subscription may have, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// The IPv4 space that is not public: IANA's special-purpose registry, and one
/// address of a cloud's own.
const FORBIDDEN_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),        // this network
    v4([10, 0, 0, 0], 8),       // private
    v4([100, 64, 0, 0], 10),    // carrier-grade NAT
    v4([127, 0, 0, 0], 8),      // loopback
    v4([168, 63, 129, 16], 32), // Azure's host agent, on a public number
    v4([169, 254, 0, 0], 16),   // link-local, cloud metadata
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocol assignments
    v4([192, 0, 2, 0], 24),     // documentation
    v4([192, 88, 99, 0], 24),   // 6to4 relays
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarking
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast
    v4([240, 0, 0, 0], 4),      // reserved, broadcast
];

/// The IPv6 space that is not public. The first entry holds the unspecified
/// address, loopback and every form that embeds an IPv4 address in `::/96`.
const FORBIDDEN_V6: [Ipv6Net; 11] = [
    v6([0, 0, 0, 0], 8),
    v6([0x100, 0, 0, 0], 64),      // discard
    v6([0x2001, 0, 0, 0], 23),     // protocol assignments, Teredo
    v6([0x2001, 0xdb8, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0], 16),     // 6to4
    v6([0x3fff, 0, 0, 0], 20),     // documentation
    v6([0x5f00, 0, 0, 0], 16),     // segment routing
    v6([0xfc00, 0, 0, 0], 7),      // unique local
    v6([0xfe80, 0, 0, 0], 10),     // link-local
    v6([0xfec0, 0, 0, 0], 10),     // site-local
    v6([0xff00, 0, 0, 0], 8),      // multicast
];

/// The one hole in `::/8`: RFC 6052's prefix, behind which a NAT64 gateway
/// reaches the IPv4 address in the last 32 bits.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

/// Names under which clouds answer questions about the machine, apart from
/// those under `.internal` (see [`is_metadata_name`]).
const METADATA_NAMES: [&str; 5] = [
    "metadata",
    "instance-data",
    "metadata.goog",
    "metadata.tencentyun.com",
    "rancher-metadata",
];

/// Why a URL can't be saved as an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("must be at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Neither `http` nor `https`.
    #[error("must start with http:// or https://")]
    Scheme,
    /// Not `https`, where nothing else is accepted.
    #[error("must start with https://")]
    HttpsOnly,
    /// A user name or password; static headers are the place for credentials.
    #[error("must not contain a user name or password")]
    Userinfo,
    /// A fragment, which is never sent and so is a mistake.
    #[error("must not contain a fragment")]
    Fragment,
    /// No host, or one that can't be written into a request.
    #[error("must name a host that can be dialled")]
    Host,
    /// A port that belongs to another protocol.
    #[error("port must be 80, 443 or above 1023")]
    Port,
    /// An address or name that is not public.
    #[error("address not allowed")]
    Address,
}

/// The rules, built once from the settings and shared by every thread.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Box<[IpNet]>,
    https_only: bool,
}

impl Guard {
    /// A guard that lets through what is public and the networks in `allow`.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self {
            allow: allow.into_boxed_slice(),
            https_only: false,
        }
    }

    /// The same guard, which refuses `http` or does not.
    #[must_use]
    pub fn https_only(self, https_only: bool) -> Self {
        Self { https_only, ..self }
    }

    /// Whether a connection to `address` may be opened.
    ///
    /// An IPv4-mapped address is forbidden like the rest of `::/8`; only `allow`
    /// sees the IPv4 address in it.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.allows(address)
            || match address {
                IpAddr::V4(v4) => !FORBIDDEN_V4.iter().any(|net| net.contains(&v4)),
                IpAddr::V6(v6) if NAT64.contains(&v6) => self.permits(nat64_target(v6).into()),
                IpAddr::V6(v6) => !FORBIDDEN_V6.iter().any(|net| net.contains(&v6)),
            }
    }

    /// Whether `url` may be saved as a subscription's endpoint.
    ///
    /// A name that passes here is resolved, and its addresses judged, at every
    /// connection.
    pub fn check_url(&self, url: &Url) -> Result<(), UrlRefused> {
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UrlRefused::TooLong);
        }
        if !self.permits_scheme(url.scheme()) {
            return Err(if self.https_only {
                UrlRefused::HttpsOnly
            } else {
                UrlRefused::Scheme
            });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::Userinfo);
        }
        if url.fragment().is_some() {
            return Err(UrlRefused::Fragment);
        }
        let permitted = match url.host().ok_or(UrlRefused::Host)? {
            Host::Domain(name) => self.permits_name(name),
            Host::Ipv4(address) => self.permits(address.into()),
            Host::Ipv6(address) => self.permits(address.into()),
        };
        if !permitted {
            return Err(UrlRefused::Address);
        }
        if !url.port_or_known_default().is_some_and(permits_port) {
            return Err(UrlRefused::Port);
        }
        // The two crates disagree on a few characters in a host; what the
        // client can't write must not be saved.
        match url.as_str().parse::<http::Uri>() {
            Ok(_) => Ok(()),
            Err(_) => Err(UrlRefused::Host),
        }
    }

    /// Whether `name` may be resolved at all, in any case, with or without a
    /// trailing dot.
    pub(super) fn permits_name(&self, name: &str) -> bool {
        if is_localhost(name) {
            self.permits(Ipv4Addr::LOCALHOST.into()) || self.permits(Ipv6Addr::LOCALHOST.into())
        } else {
            !is_metadata_name(name)
        }
    }

    /// Whether `scheme`, in lower case, may be spoken.
    pub(super) fn permits_scheme(&self, scheme: &str) -> bool {
        scheme == "https" || (scheme == "http" && !self.https_only)
    }

    fn allows(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allow
            .iter()
            .any(|net| net.contains(&address) || net.contains(&canonical))
    }
}

/// Whether `port` may be dialled. The privileged ones other than HTTP's belong
/// to protocols that a crafted request could talk to, such as mail.
pub(super) fn permits_port(port: u16) -> bool {
    matches!(port, 80 | 443 | 1024..)
}

/// Whether `name` is `localhost` or below it (RFC 6761, section 6.3).
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.rsplit('.')
        .next()
        .is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

/// `.internal` is private space that operators use too, so only the names
/// within it that carry a metadata service's label are refused.
fn is_metadata_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    METADATA_NAMES.contains(&name.as_str())
        || name.strip_suffix(".internal").is_some_and(|rest| {
            rest.split('.')
                .any(|label| matches!(label, "metadata" | "instance-data"))
        })
}

fn nat64_target(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

const fn v4([a, b, c, d]: [u8; 4], prefix_len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_len)
}

const fn v6([a, b, c, d]: [u16; 4], prefix_len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix_len)
}

#[cfg(test)]
mod tests;
