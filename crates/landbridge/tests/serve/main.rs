//! `landbridge serve` as a user runs it: the program itself, real sockets, and
//! the embedded guest as its VMM.

mod clean_end;
mod command_line;
mod daemon;
mod exhaustion;
mod fatal_to_qemu;
mod guests;
mod hostile_frontend;
mod many_lives;
mod recover;
mod revoke;
mod shares;
mod socket_activation;
mod sockets;
