//! The rules on all devices of a machine together.

use crate::examination::rules;

rules! {
    COUNT = "nvidia-device-count", Expected, Refused, "policy gpus and switches",
        "a machine that shows some of its devices and uses others";
    DISTINCT = "nvidia-devices-distinct", Genuine, Mismatch, "SDK, device identity certificates",
        "one genuine device that reports for several";
    ONE_MODE = "nvidia-one-mode", Expected, Mismatch, "SDK, feature flag",
        "one device in a weaker mode than its neighbours";
    TOPOLOGY = "nvidia-topology", Expected, Mismatch, "SDK, switch PDIs and GPU PDIs",
        "GPUs whose links lead to switches, or switches whose links lead to GPUs, that gave no evidence";
}
