//! Stompede server.
