#!/usr/bin/python3
"""A storage plugin in Python: objects are files below a directory.

Needs Python 3.9 and grpcio (Debian: python3-grpcio); no generated code. The contract is
plugins/proto/README.md and the .proto files beside it. In the configuration:

    [storage]
    plugin = "/usr/local/lib/remora/storage.py"
    mtls = "off"
    [storage.config]
    dir = "/var/backups/mysql"
"""
import errno
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
import uuid
import zlib
from concurrent import futures

import grpc

SOCKETS = os.environ.get("PLUGIN_UNIX_SOCKET_DIR", "/tmp")


# --- protobuf, as far as we need it -------------------------------------------------
# A message is a dict {field number: value}; ints, strings, bytes and dicts can be sent.

def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(message):
    out = b""
    for number, value in message.items():
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, int):
                out += varint(number << 3) + varint(v)
                continue
            v = encode(v) if isinstance(v, dict) else v.encode() if isinstance(v, str) else v
            out += varint(number << 3 | 2) + varint(len(v)) + v
    return out


def decode(data):
    message, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return n

    while at < len(data):
        key = number()
        if key & 7 == 0:
            n = number()
            message[key >> 3] = n - (1 << 64) if n >> 63 else n
        elif key & 7 == 2:
            size = number()
            message[key >> 3] = data[at:at + size]
            at += size
        else:
            raise ValueError("unknown wire type")
    return message


# --- errors ---------------------------------------------------------------------------

class Refused(Exception):
    """An error with an identity; see the table in the README."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def invalid(text):
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, text)


def not_found(name):
    return Refused(grpc.StatusCode.NOT_FOUND, f"object {name} does not exist")


def status(e):
    """Returns what to abort a call with."""
    if isinstance(e, Refused):
        return e.code, str(e)
    if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, str(e)
    if isinstance(e, PermissionError):
        return grpc.StatusCode.PERMISSION_DENIED, str(e)
    return grpc.StatusCode.UNKNOWN, f"{type(e).__name__}: {e}"


# --- the storage --------------------------------------------------------------------------

ROOT = None
TEMP = "tmp+"  # no object's name has a '+'


def path(raw):
    name = raw.decode()
    segments = name.split("/")
    if len(name) > 512 or any(s in ("", ".", "..") or not re.fullmatch("[A-Za-z0-9._-]+", s) for s in segments):
        raise invalid(f"object name {name!r}")
    return name, os.path.join(ROOT, name)


def sync(directory):
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def size_of(name, file):
    try:
        if os.path.isfile(file):
            return os.stat(file).st_size
    except (FileNotFoundError, NotADirectoryError):
        pass
    raise not_found(name)


class Transfer(threading.Thread):
    """Bytes over a one-time socket; failed is what went wrong."""

    def __init__(self):
        super().__init__(daemon=True)
        self.id = uuid.uuid4().hex
        self.socket = "data-" + self.id[:16]
        self.length, self.crc, self.failed, self.conn = 0, 0, None, None
        self.given_up = False
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(os.path.join(SOCKETS, self.socket))
        self.listener.listen(1)
        self.listener.settimeout(10)

    def run(self):
        try:
            try:
                self.conn, _ = self.listener.accept()
            finally:
                self.listener.close()
                os.unlink(os.path.join(SOCKETS, self.socket))
            self.conn.settimeout(None)
            with self.conn:
                self.move()
        except Exception as e:  # told by Abort or Finish
            self.failed = e

    def count(self, data):
        self.crc = zlib.crc32(data, self.crc)
        self.length += len(data)

    def give_up(self):
        self.given_up = True
        for s in (self.conn, self.listener):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass
        self.join()


class Upload(Transfer):
    def __init__(self, name, file):
        super().__init__()
        self.name, self.file = name, file
        self.temp = os.path.join(ROOT, TEMP, self.id)

    def move(self):
        buffer = memoryview(bytearray(1 << 20))
        with open(self.temp, "xb", buffering=0) as f:
            while n := self.conn.recv_into(buffer):
                self.count(buffer[:n])
                done = 0
                while done < n:
                    done += f.write(buffer[done:n])
            os.fsync(f.fileno())

    def publish(self):
        os.makedirs(os.path.dirname(self.file), mode=0o700, exist_ok=True)
        os.rename(self.temp, self.file)
        directory = os.path.dirname(self.file)
        while True:
            sync(directory)
            if directory == ROOT:
                return
            directory = os.path.dirname(directory)

    def remove(self):
        try:
            os.unlink(self.temp)
        except FileNotFoundError:
            pass


class Download(Transfer):
    def __init__(self, file, offset, length):
        super().__init__()
        self.file, self.offset, self.left = file, offset, length

    def move(self):
        with self.file as f:
            f.seek(self.offset)
            while self.left:
                data = f.read(min(self.left, 1 << 20))
                if not data:
                    raise EOFError("object became shorter")
                self.conn.sendall(data)
                self.count(data)
                self.left -= len(data)


transfers = {}


def put(request, context):
    up = Upload(*path(request[1]))
    transfers[up.id] = up
    up.start()
    return {1: up.id, 2: up.socket}


def taken(request):
    t = transfers.pop(request.get(1, b"").decode(), None)
    if t is None:
        raise Refused(grpc.StatusCode.NOT_FOUND, "no such transfer")
    return t


def commit(request, context):
    up = taken(request)
    up.join()
    try:
        if up.failed:
            raise up.failed
        want = request.get(2, 0), request.get(3, 0)
        if (up.length, up.crc) != want:
            raise ValueError(f"got {up.length} bytes with CRC {up.crc:08x}, host sent {want}")
        up.publish()
    finally:
        up.remove()
    return {1: {1: up.name, 2: up.length}}


def abort(request, context):
    up = taken(request)
    up.give_up()
    up.remove()
    if isinstance(up.failed, OSError) and up.failed.errno in (errno.ENOSPC, errno.EDQUOT):
        raise up.failed
    return {}


def get(request, context):
    name, file = path(request[1])
    size, offset, length = size_of(name, file), request.get(2, 0), request.get(3, 0)
    try:
        f = open(file, "rb", buffering=0)
    except FileNotFoundError:
        raise not_found(name)
    size = os.fstat(f.fileno()).st_size
    if length < 0:
        length = size - offset
    if offset < 0 or offset > size or length > size - offset:
        f.close()
        raise invalid(f"{length} bytes at {offset} are not within {size}")
    down = Download(f, offset, length)
    transfers[down.id] = down
    down.start()
    return {1: down.id, 2: down.socket}


def finish(request, context):
    down = taken(request)
    down.join()
    if down.failed:
        raise down.failed
    return {1: down.length, 2: down.crc}


def objects(request, context):
    prefix, found = request.get(1, b"").decode(), []
    for directory, _, files in os.walk(ROOT):
        for f in files:
            file = os.path.join(directory, f)
            name = os.path.relpath(file, ROOT)
            if name.startswith(prefix) and not name.startswith(TEMP):
                try:
                    found.append({1: name, 2: os.stat(file).st_size})
                except FileNotFoundError:
                    pass  # deleted just now
    found.sort(key=lambda o: o[1])
    for i in range(0, len(found), 1000):
        yield {1: found[i:i + 1000]}


def stat(request, context):
    name, file = path(request.get(1, b""))
    return {1: {1: name, 2: size_of(name, file)}}


def delete(request, context):
    try:
        os.unlink(path(request.get(1, b""))[1])
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        pass
    return {}


def free(request, context):
    s = os.statvfs(ROOT)
    return {1: s.f_bavail * s.f_frsize}


# --- the plugin ------------------------------------------------------------------------

def describe(request, context):
    return {1: "storage", 2: "storage.py", 3: "1"}


def configure(request, context):
    global ROOT
    config = json.loads(request.get(1, b"{}") or b"{}")
    for key in config:
        if key != "dir":
            raise invalid(f"unknown key {key!r}, did you mean 'dir'?")
    ROOT = config.get("dir", "")
    if not isinstance(ROOT, str) or not os.path.isabs(ROOT):
        raise invalid(f"dir {ROOT!r} is not an absolute path")
    ROOT = os.path.normpath(ROOT)
    os.makedirs(os.path.join(ROOT, TEMP), mode=0o700, exist_ok=True)
    return {1: ["free"]}


def drain(request, context):
    for t in list(transfers.values()):
        t.give_up()
        if isinstance(t, Upload):
            t.remove()
    return {}


def unary(function):
    def call(request, context):
        try:
            return function(request, context)
        except Exception as e:
            context.abort(*status(e))
    return grpc.unary_unary_rpc_method_handler(call, decode, encode)


def service(name, **methods):
    return grpc.method_handlers_generic_handler("remora.plugin.v1." + name, methods)


def watch_host():
    os.read(int(os.environ["REMORA_PLUGIN_LIVENESS_FD"]), 1)  # returns when the host is gone
    shutil.rmtree(SOCKETS, ignore_errors=True)
    os._exit(0)


def main():
    if os.environ.get("REMORA_PLUGIN") != "remora.plugin.v1":
        sys.exit("This is a plugin of remora: name it in remora's configuration.")
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)
    os.umask(0o077)
    threading.Thread(target=watch_host, daemon=True).start()
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((
        service("Plugin", Describe=unary(describe), Configure=unary(configure), Drain=unary(drain)),
        service("Storage", Put=unary(put), Commit=unary(commit), Abort=unary(abort), Get=unary(get), Finish=unary(finish),
                Stat=unary(stat), Delete=unary(delete), Free=unary(free),
                List=grpc.unary_stream_rpc_method_handler(objects, decode, encode)),
    ))
    address = os.path.join(SOCKETS, "grpc")
    server.add_insecure_port("unix:" + address)
    server.start()
    print(f"1|1|unix|{address}|grpc|", flush=True)
    server.wait_for_termination()


main()
