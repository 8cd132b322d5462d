//! Sizes and outputs as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use landbridge_device_gpu::Output;
use serde::Deserialize;

use super::caching::CachingFrom;

/// A number of bytes: "268435456", "256M", "256MiB", "1GiB". Suffixes are
/// powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Text")]
pub struct Size(pub u64);

const SUFFIXES: [(&str, u32); 4] = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size: write 268435456, 256MiB or 1GiB");
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let shift = match suffix.trim_start() {
            "" | "B" => 0,
            suffix => {
                let unit = suffix.strip_suffix("iB").unwrap_or(suffix);
                let known = SUFFIXES.iter().find(|(name, _)| *name == unit);
                known.ok_or_else(wrong)?.1
            }
        };
        let bytes = number.checked_mul(1 << shift);
        bytes
            .map(Self)
            .ok_or_else(|| format!("{text:?} is past 2^64 bytes"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match SUFFIXES.iter().rev().find(|(_, shift)| fits(*shift)) {
            Some((name, shift)) => write!(f, "{}{name}iB", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// An output of a GPU: "1920x1080".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
pub struct OutputSize(pub Output);

impl FromStr for OutputSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no output: write 1920x1080");
        let (width, height) = text.split_once('x').ok_or_else(wrong)?;
        let side = |text: &str| text.parse().map_err(|_| wrong());
        Output::new(side(width)?, side(height)?)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// Where metrics are served: "9100" (on the loopback interface), or an address
/// and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
pub struct MetricsAddress(pub SocketAddr);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self((IpAddr::from(Ipv4Addr::LOCALHOST), port).into()));
        }
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is no address: write 9100 or 127.0.0.1:9100"))
    }
}

/// What the types above and [`CachingFrom`] are in a file: a string.
#[derive(Deserialize)]
pub(super) struct Text(String);

macro_rules! from_text {
    ($($name:ty),*) => {$(
        impl TryFrom<Text> for $name {
            type Error = String;

            fn try_from(text: Text) -> Result<Self, String> {
                text.0.parse()
            }
        }
    )*};
}

from_text!(Size, OutputSize, MetricsAddress, CachingFrom);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4096B", 4096),
            ("4K", 4096),
            ("256MiB", 1 << 28),
            ("256 MiB", 1 << 28),
            ("1G", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "1.5G",
            "-1",
            "1MB",
            "1X",
            "99999999999999999999",
            "999999999T",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for bytes in [0, 1, 4095, 4096, 1 << 28, 3 << 30, 1 << 40, u64::MAX] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        assert_eq!(Size(1 << 28).to_string(), "256MiB");
    }

    #[test]
    fn outputs_are_two_sides() {
        let OutputSize(output) = "1920x1080".parse().unwrap();
        assert_eq!((output.width(), output.height()), (1920, 1080));
        for text in ["", "1920", "x", "0x1", "1920x1080x1", "5000x1", "-1x1"] {
            assert!(text.parse::<OutputSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_alone_is_on_the_loopback_interface() {
        let MetricsAddress(address) = "9100".parse().unwrap();
        assert!(address.ip().is_loopback());
        assert!("0.0.0.0:9100".parse::<MetricsAddress>().is_ok());
        assert!("localhost".parse::<MetricsAddress>().is_err());
    }
}
