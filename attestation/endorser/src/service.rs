//! The services that publish, and where each is.

use std::fmt;

use http::Uri;

use crate::EndorserError;

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// AMD's key distribution service.
    AmdKds,
    /// Azure's trusted hardware identity management, at the metadata address of a virtual machine.
    AzureThim,
    /// Intel's provisioning certification service, or a caching service in front of it.
    IntelPcs,
    /// Intel's distribution point of its root's revocation list.
    IntelRootCrl,
    /// NVIDIA's reference integrity manifests.
    NvidiaRim,
    /// NVIDIA's OCSP responder.
    NvidiaOcsp,
    /// Google's bucket of launch endorsements.
    GceTcb,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Service::AmdKds => "AMD KDS",
            Service::AzureThim => "Azure THIM",
            Service::IntelPcs => "Intel PCS",
            Service::IntelRootCrl => "Intel root CRL",
            Service::NvidiaRim => "NVIDIA RIM",
            Service::NvidiaOcsp => "NVIDIA OCSP",
            Service::GceTcb => "GCE TCB",
        })
    }
}

/// The base URL of a service: scheme, authority and perhaps a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// Accepts https, and plain http to this machine or the link-local metadata address only: signed
    /// documents could travel in the clear, but their absence and their age could then be dictated.
    pub fn parse(text: &str) -> Result<Self, EndorserError> {
        let wrong = |problem: &str| EndorserError::Config(format!("`{text}`: {problem}"));
        let uri: Uri = text.parse().map_err(|_| wrong("not a URL"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(wrong("it must have neither credentials nor a query"));
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_local(authority.host()) => {}
            _ => return Err(wrong("https is needed beyond loopback and 169.254.169.254")),
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The URL of something below.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The URL as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn constant(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host == "169.254.169.254"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Which of Intel's evaluations is asked for (PCS v4, parameter `update`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// As soon as it is published, before every platform could be updated.
    Early,
    /// After the time that operators are given to update.
    #[default]
    Standard,
}

impl Update {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Update::Early => "early",
            Update::Standard => "standard",
        }
    }
}

/// Where Intel's root publishes its revocation list.
#[derive(Clone, Debug)]
pub enum RootCrl {
    /// At a distribution point of its own, DER.
    DistributionPoint(ServiceUrl),
    /// At the caching service (PCCS), in hexadecimal.
    CachingService,
}

/// Where each service is.
#[derive(Clone, Debug)]
pub struct Services {
    /// AMD's key distribution service.
    pub amd_kds: ServiceUrl,
    /// Where an Azure virtual machine asks instead for its own certificate, if it does.
    pub azure_thim: Option<ServiceUrl>,
    /// Intel's provisioning certification service, or a caching service.
    pub intel_pcs: ServiceUrl,
    /// Where Intel's root publishes its list.
    pub intel_root_crl: RootCrl,
    /// Which evaluation of Intel's is asked for.
    pub intel_update: Update,
    /// NVIDIA's reference integrity manifests.
    pub nvidia_rim: ServiceUrl,
    /// NVIDIA's OCSP responder.
    pub nvidia_ocsp: ServiceUrl,
    /// Google's launch endorsements.
    pub gce_tcb: ServiceUrl,
}

impl Services {
    /// AMD's key distribution service.
    pub const AMD_KDS: &'static str = "https://kdsintf.amd.com";
    /// Azure's metadata address.
    pub const AZURE_THIM: &'static str = "http://169.254.169.254";
    /// Intel's provisioning certification service.
    pub const INTEL_PCS: &'static str = "https://api.trustedservices.intel.com";
    /// The list of Intel's root.
    pub const INTEL_ROOT_CRL: &'static str =
        "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";
    /// NVIDIA's reference integrity manifests.
    pub const NVIDIA_RIM: &'static str = "https://rim.attestation.nvidia.com";
    /// NVIDIA's OCSP responder.
    pub const NVIDIA_OCSP: &'static str = "https://ocsp.ndis.nvidia.com";
    /// Google's launch endorsements.
    pub const GCE_TCB: &'static str = "https://storage.googleapis.com/gce_tcb_integrity";
}

impl Default for Services {
    /// The manufacturers' own.
    fn default() -> Self {
        Self {
            amd_kds: ServiceUrl::constant(Self::AMD_KDS),
            azure_thim: None,
            intel_pcs: ServiceUrl::constant(Self::INTEL_PCS),
            intel_root_crl: RootCrl::DistributionPoint(ServiceUrl::constant(Self::INTEL_ROOT_CRL)),
            intel_update: Update::default(),
            nvidia_rim: ServiceUrl::constant(Self::NVIDIA_RIM),
            nvidia_ocsp: ServiceUrl::constant(Self::NVIDIA_OCSP),
            gce_tcb: ServiceUrl::constant(Self::GCE_TCB),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ServiceUrl, Services};

    #[test]
    fn plain_http_goes_to_this_machine_and_the_metadata_address_only() {
        for taken in [
            "https://kdsintf.amd.com",
            "https://pccs.example.com:8081/",
            "http://127.0.0.1:8081",
            "http://[::1]:1",
            "http://localhost/x",
            "http://169.254.169.254",
        ] {
            assert!(ServiceUrl::parse(taken).is_ok(), "{taken}");
        }
        for refused in [
            "http://kdsintf.amd.com",
            "http://169.254.169.253",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "https://user@example.com",
            "https://example.com?x=1",
            "https://example.com#x",
            "example.com",
            "/path",
            "",
        ] {
            assert_eq!(
                ServiceUrl::parse(refused).expect_err(refused).code(),
                "endorser-config",
                "{refused}"
            );
        }
    }

    #[test]
    fn the_built_in_urls_pass_the_rule() {
        for url in [
            Services::AMD_KDS,
            Services::AZURE_THIM,
            Services::INTEL_PCS,
            Services::INTEL_ROOT_CRL,
            Services::NVIDIA_RIM,
            Services::NVIDIA_OCSP,
            Services::GCE_TCB,
        ] {
            assert_eq!(ServiceUrl::parse(url).expect(url).as_str(), url);
        }
    }
}
