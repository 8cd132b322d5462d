//! What a dma-buf's descriptor does not do.

use std::os::fd::AsFd as _;

use rustix::fs::ftruncate;

use super::{Property, Subject, property};
use crate::exporters::Refused;
use crate::sys::answer;
use crate::sys::dma_buf::{Fences, INFO_OF_2022, Info, NOBODYS};
use crate::sys::ioctl::ioctl;

pub(super) const PROPERTIES: &[Property] = &[
    property("ioctl: INFO as proposed in 2022", info),
    property("ioctl: a number that nobody has", nobodys),
    property("read", read),
    property("write", write),
    property("ftruncate", truncate),
];

fn info(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    Ok(answer(ioctl(&buffer, INFO_OF_2022, &mut Info::default())))
}

fn nobodys(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    Ok(answer(ioctl(&buffer, NOBODYS, &mut Fences::default())))
}

fn read(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    Ok(answer(rustix::io::read(buffer.as_fd(), &mut [0_u8; 8])))
}

fn write(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    Ok(answer(rustix::io::write(buffer.as_fd(), &[0_u8; 8])))
}

fn truncate(subject: &Subject<'_>) -> Result<String, Refused> {
    let buffer = subject.buffer()?;
    Ok(answer(ftruncate(&buffer, buffer.size() + 4096)))
}
