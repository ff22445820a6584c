//! What carries a client's bytes: one socket, or the many of a SockJS session.

use crate::tunnel::Tunnel;
use stompede::reactor::sim::{Read, SimNet, SocketId};

/// How a client comes, and to which shards.
pub enum Way {
    Tcp(SimNet),
    WebSocket(SimNet),
    /// Each request to any of them.
    SockJs(Vec<SimNet>),
}

/// A byte stream in both directions.
pub enum Line {
    Socket { net: SimNet, id: SocketId, listener: u8, window_bytes: usize },
    SockJs(Box<Tunnel>),
}

impl Line {
    /// Connects. `seed` names a SockJS session.
    pub fn new(way: Way, window_bytes: usize, seed: u64) -> Line {
        let (net, listener) = match way {
            Way::SockJs(nets) => {
                return Line::SockJs(Box::new(Tunnel::new(nets, window_bytes, seed)))
            }
            Way::WebSocket(net) => (net, 0),
            Way::Tcp(net) => (net, 1),
        };
        let id = net.connect(listener, window_bytes);
        Line::Socket { net, id, listener, window_bytes }
    }

    /// Connects anew, after [`Read::Refused`].
    pub fn reopen(&mut self) {
        if let Line::Socket { net, id, listener, window_bytes } = self {
            *id = net.connect(*listener, *window_bytes);
        }
    }

    /// Spares it all faults.
    pub fn spare(&self) {
        if let Line::Socket { net, id, .. } = self {
            net.spare(*id);
        }
    }

    /// Takes bytes to send; gives how many.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        match self {
            Line::Socket { net, id, .. } => net.write(*id, bytes),
            Line::SockJs(tunnel) => tunnel.write(bytes),
        }
    }

    /// Gives what came, at most `bytes_max` from each socket.
    pub fn read(&mut self, bytes_max: usize) -> Read {
        match self {
            Line::Socket { net, id, .. } => net.read(*id, bytes_max),
            Line::SockJs(tunnel) => tunnel.read(bytes_max),
        }
    }

    /// Ends the sending half; of a session, of all its sockets.
    pub fn shutdown_write(&mut self) {
        match self {
            Line::Socket { net, id, .. } => net.shutdown_write(*id),
            Line::SockJs(tunnel) => tunnel.end(SimNet::shutdown_write),
        }
    }

    /// Resets.
    pub fn reset(&mut self, errno: i32) {
        match self {
            Line::Socket { net, id, .. } => net.reset(*id, errno),
            Line::SockJs(tunnel) => tunnel.end(|net, id| net.reset(id, errno)),
        }
    }

    /// Heart-beats that may be overdue: polls wait while full rings keep shards from reading, which
    /// with rings as small as these once took 27 s.
    pub fn beats_max(&self) -> u64 {
        match self {
            Line::Socket { .. } => 2,
            Line::SockJs(_) => 20,
        }
    }

    /// Is nothing of what was written still here, and nothing half read?
    pub fn is_idle(&self) -> bool {
        match self {
            Line::Socket { .. } => true,
            Line::SockJs(tunnel) => tunnel.is_idle(),
        }
    }
}
