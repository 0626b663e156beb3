//! Typed labels: who seals what to whom. They become HPKE `info`, so that a message made for one purpose opens
//! for no other.

/// What a single sealed message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// The broker releases a model key to an enclave's wrap key.
    KeyRelease,
    /// A model owner registers a model key with a broker.
    KeyRegistration,
}

/// A party of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// Holds plain weights and the model key.
    ModelOwner,
    /// Releases keys.
    Broker,
    /// Serves.
    Enclave,
}

impl Party {
    fn as_str(self) -> &'static str {
        match self {
            Self::ModelOwner => "model owner",
            Self::Broker => "broker",
            Self::Enclave => "enclave",
        }
    }
}

impl Label {
    /// Who seals.
    pub fn sender(self) -> Party {
        match self {
            Self::KeyRelease => Party::Broker,
            Self::KeyRegistration => Party::ModelOwner,
        }
    }

    /// Who opens.
    pub fn recipient(self) -> Party {
        match self {
            Self::KeyRelease => Party::Enclave,
            Self::KeyRegistration => Party::Broker,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::KeyRelease => "key release",
            Self::KeyRegistration => "key registration",
        }
    }

    /// HPKE `info`: protocol, label, sender, recipient, message header; each behind its length in one byte.
    pub(crate) fn info(self, header: &[u8]) -> Vec<u8> {
        let parts: [&[u8]; 5] = [
            b"adyton seal v1",
            self.as_str().as_bytes(),
            self.sender().as_str().as_bytes(),
            self.recipient().as_str().as_bytes(),
            header,
        ];
        let mut info = Vec::new();
        for part in parts {
            info.push(u8::try_from(part.len()).expect("all parts are short constants"));
            info.extend(part);
        }
        info
    }
}
