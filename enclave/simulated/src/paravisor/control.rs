//! QEMU's end (`backends/tpm/tpm_emulator.c`): a control channel over the socket that it connects to, in swtpm's protocol,
//! and a channel of commands whose socket it hands over there (CMD_SET_DATAFD, unix(7) SCM_RIGHTS). That one request is
//! answered here; everything else on the control channel goes to the TPM as it comes, and its answers back.

use std::{
    io::{self, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    thread,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{provision::message, swtpm::Swtpm, vtpm::Vtpm};

/// CMD_SET_DATAFD.
const SET_DATAFD: [u8; 4] = [0, 0, 0, 16];
/// A result: done, and TPM_FAIL.
const DONE: [u8; 4] = [0; 4];
const FAILED: [u8; 4] = [0, 0, 0, 9];
/// The most that is passed on at a time.
const CONTROL_BYTES_MAX: usize = 4096;

/// Serves the first machine that connects, until it goes.
pub(super) fn serve(listener: &UnixListener, tpm: &Swtpm, vtpm: Vtpm) -> anyhow::Result<()> {
    let (mut machine, _) = listener.accept()?;
    let (mut control, mut answers) = (tpm.control.try_clone()?, tpm.control.try_clone()?);
    let mut to_machine = machine.try_clone()?;
    thread::spawn(move || io::copy(&mut answers, &mut to_machine)); // ends with the TPM
    let mut vtpm = Some(vtpm);
    let mut bytes = [0; CONTROL_BYTES_MAX];
    loop {
        let (length, descriptor) = receive(&machine, &mut bytes)?;
        let request = bytes.get(..length).unwrap_or_default();
        match (request, descriptor) {
            ([], _) => return Ok(()),
            (request, None) => control.write_all(request)?,
            (request, Some(descriptor)) => {
                // One channel of commands, once: whoever would hand over another takes the guest's place.
                let result = match vtpm.take() {
                    Some(vtpm) if request == SET_DATAFD => {
                        relay(UnixStream::from(descriptor), tpm.data.try_clone()?, vtpm);
                        DONE
                    }
                    other => {
                        vtpm = other;
                        FAILED
                    }
                };
                machine.write_all(&result)?;
            }
        }
    }
}

/// Some bytes, and the descriptor that came with them.
fn receive(machine: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        machine,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptor = None;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            descriptor = descriptors.last();
        }
    }
    Ok((received.bytes, descriptor))
}

/// Carries the guest's commands, one after the other, on a thread that ends with either side.
fn relay(mut guest: UnixStream, mut tpm: UnixStream, mut vtpm: Vtpm) {
    thread::spawn(move || -> io::Result<()> {
        loop {
            let command = message(&mut guest)?;
            let answer = match vtpm.answer(&command) {
                Some(answer) => answer,
                None => {
                    tpm.write_all(&command)?;
                    message(&mut tpm)?
                }
            };
            guest.write_all(&answer)?;
        }
    });
}
