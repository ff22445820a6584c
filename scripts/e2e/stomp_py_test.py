"""stomp.py over TCP against a running server, in STOMP 1.0, 1.1 and 1.2.

Addresses come from scripts/e2e/run. The same walk runs once per version; what
differs between versions (a subscription without id in 1.0) is said where it does.
"""

import os
import queue
import sys
import unittest

import stomp

HOST = "127.0.0.1"
WAIT_S = 10


class Events(stomp.ConnectionListener):
    """Turns the callbacks of stomp.py's receiver thread into queues."""

    def __init__(self):
        self.messages = queue.Queue()
        self.receipts = queue.Queue()
        self.errors = queue.Queue()
        self.connected = queue.Queue()
        self.disconnected = queue.Queue()

    def on_connected(self, frame):
        self.connected.put(frame)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_disconnected(self):
        self.disconnected.put(True)


class Walk:
    """Connect, subscribe, send, receive, receipt, disconnect; mixed into one class a version."""

    version = ""
    connection_class = None
    subscription = "s1"

    def open(self, port=None, **login):
        host_and_ports = [(HOST, int(port or os.environ["E2E_STOMP_PORT"]))]
        connection = self.connection_class(host_and_ports, reconnect_attempts_max=1)
        events = Events()
        connection.set_listener("test", events)
        self.addCleanup(self.close, connection)
        connection.connect(wait=True, **login)
        return connection, events

    def close(self, connection):
        if connection.is_connected():
            connection.disconnect()

    def assert_receipt(self, events, receipt):
        self.assertEqual(events.receipts.get(timeout=WAIT_S), receipt)

    def subscribe(self, connection, destination):
        connection.subscribe(
            destination, id=self.subscription, ack="auto", headers={"receipt": "subscribed"}
        )

    def test_connected_names_the_version(self):
        _, events = self.open()
        frame = events.connected.get(timeout=WAIT_S)
        self.assertEqual(frame.headers.get("version", "1.0"), self.version)

    def test_walk(self):
        destination = f"/topic/stomp-py/{self.version}"
        subscriber, received = self.open()
        publisher, sent = self.open()

        self.subscribe(subscriber, destination)
        self.assert_receipt(received, "subscribed")

        publisher.send(destination, "grüße", headers={"receipt": "sent", "kind": "greeting"})
        self.assert_receipt(sent, "sent")
        frame = received.messages.get(timeout=WAIT_S)
        self.assertEqual(frame.body, "grüße")
        self.assertEqual(frame.headers["destination"], destination)
        self.assertEqual(frame.headers["kind"], "greeting")
        self.assertIn("message-id", frame.headers)
        # Without an id at SUBSCRIBE (legal in 1.0 only) MESSAGE has no subscription header.
        self.assertEqual(frame.headers.get("subscription"), self.subscription)

        # In 1.0 the subscription without id ends by its destination.
        if self.subscription is None:
            subscriber.unsubscribe(destination=destination, headers={"receipt": "unsubscribed"})
        else:
            subscriber.unsubscribe(id=self.subscription, headers={"receipt": "unsubscribed"})
        self.assert_receipt(received, "unsubscribed")

        for connection, events in ((subscriber, received), (publisher, sent)):
            connection.disconnect(receipt="bye")
            self.assert_receipt(events, "bye")
            self.assertTrue(events.disconnected.get(timeout=WAIT_S))
            self.assertTrue(events.errors.empty())
            self.assertTrue(events.messages.empty())

    def test_many_messages_in_order(self):
        destination = f"/topic/stomp-py/many/{self.version}"
        subscriber, received = self.open()
        publisher, _ = self.open()
        self.subscribe(subscriber, destination)
        self.assert_receipt(received, "subscribed")
        expected = [str(n) for n in range(300)]
        for body in expected:
            publisher.send(destination, body)
        seen = [received.messages.get(timeout=WAIT_S).body for _ in expected]
        self.assertEqual(seen, expected)

    def test_unknown_prefix_is_an_error_and_a_close(self):
        connection, events = self.open()
        connection.send("/nowhere/x", "x")
        frame = events.errors.get(timeout=WAIT_S)
        self.assertTrue(frame.headers.get("message"))
        self.assertTrue(events.disconnected.get(timeout=WAIT_S))

    def test_login(self):
        port = os.environ["E2E_LOGIN_STOMP_PORT"]
        login = os.environ["E2E_LOGIN"]
        connection, events = self.open(port, username=login, passcode=os.environ["E2E_PASSCODE"])
        self.assertTrue(connection.is_connected())
        with self.assertRaises(stomp.exception.ConnectFailedException):
            self.open(port, username=login, passcode="guess")


class Stomp10(Walk, unittest.TestCase):
    version = "1.0"
    connection_class = stomp.Connection10
    subscription = None


class Stomp11(Walk, unittest.TestCase):
    version = "1.1"
    connection_class = stomp.Connection11


class Stomp12(Walk, unittest.TestCase):
    version = "1.2"
    connection_class = stomp.Connection12


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    # unittest of some versions calls an empty run a success.
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)
