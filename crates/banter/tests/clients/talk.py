"""Talks through the PyPI package websockets: joins, sends, drops, resumes, retries.

Arguments: the socket's URL, an access token, a channel. After each step it prints a line of JSON and
waits for a line on standard input.
"""

import asyncio
import json
import sys

import websockets


def step(**facts):
    print(json.dumps(facts), flush=True)


async def go_on():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def hear(socket):
    return json.loads(await asyncio.wait_for(socket.recv(), 30))


async def find(socket, kind, **fields):
    while True:
        frame = await hear(socket)
        if frame["type"] == kind and all(frame[k] == v for k, v in fields.items()):
            return frame


async def greet(url, token, resume=None):
    socket = await websockets.connect(url, max_size=None)
    hello = {"type": "hello", "token": token}
    if resume:
        hello["resume"] = resume
    await socket.send(json.dumps(hello))
    welcome = await hear(socket)
    assert welcome["type"] == "welcome", welcome
    return socket, welcome


async def main(url, token, channel):
    socket, welcome = await greet(url, token)
    assert channel in welcome["channels"], welcome
    message = {"type": "send", "id": "from-python", "channel": channel, "body": "murmur é漢👋"}
    await socket.send(json.dumps(message, ensure_ascii=False))
    ack = await find(socket, "ack", id="from-python")
    step(step="sent", seq=ack["seq"])
    await go_on()
    heard = await find(socket, "message", author="ann")
    position = {"seq": heard["seq"], "epoch": heard["epoch"]}
    # The connection breaks without a word.
    socket.transport.abort()
    step(step="dropped", seq=heard["seq"])
    await go_on()
    socket, welcome = await greet(url, token, {channel: position})
    head = welcome["channels"][channel]["seq"]
    for seq in range(position["seq"] + 1, head + 1):
        frame = await hear(socket)
        assert frame["seq"] == seq, frame
    await socket.send(json.dumps(message))
    again = await find(socket, "ack", id="from-python")
    assert again == ack, again
    # Fragments, pings and a clean close, as this library makes them.
    await socket.send(iter_text({"type": "ping", "padding": "x" * 50_000}))
    await find(socket, "pong")
    await asyncio.wait_for(await socket.ping(), 30)
    await socket.close()
    assert socket.close_code == 1000, socket.close_code
    step(step="resumed", seq=head)


def iter_text(frame):
    text = json.dumps(frame)
    return (text[at : at + 7_000] for at in range(0, len(text), 7_000))


asyncio.run(main(*sys.argv[1:]))
