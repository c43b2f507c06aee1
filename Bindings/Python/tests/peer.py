"""A participant beside those in Swift and C: peer.py ROLE NAME ORIGIN COUNT. What it says on standard output is the same in all languages;
see LanguageTests of the Swift tests."""

import sys

import swift_ipc as ipc

PATIENCE = 60
role, name, origin, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def say(text):
    print(text, flush=True)


def item(origin, number):
    return {"origin": origin, "number": number, "half": number / 2, "text": f"n{number}", "isEven": number % 2 == 0}


def checked(message):
    if message != item(message["origin"], message["number"]):
        say(f"torn: {message['number']} of {message['origin']}")
    return message


if role == "publish":
    with ipc.topic(name, timeout=PATIENCE).publisher() as publisher:
        say("ready")
        for number in range(1, count + 1):
            publisher.publish(item(origin, number), timeout=PATIENCE)
elif role == "push":
    with ipc.queue(name, timeout=PATIENCE).producer() as producer:
        say("ready")
        for number in range(1, count + 1):
            producer.send(item(origin, number), timeout=PATIENCE)
elif role == "subscribe":
    last = {}
    with ipc.topic(name, timeout=PATIENCE).subscribe(as_="dict") as subscription:
        say("ready")
        while True:
            message = checked(subscription.receive(timeout=PATIENCE))
            sender, number = message["origin"], message["number"]
            if sender == 0:
                break
            if number != last.get(sender, 0) + 1:
                say(f"gap: {number} after {last.get(sender, 0)}")
            last[sender] = number
    for sender, number in sorted(last.items()):
        say(f"{sender} {number}")
elif role == "work":
    with ipc.queue(name, timeout=PATIENCE).worker(as_="dict") as worker:
        say("ready")
        while True:
            job = worker.take(timeout=PATIENCE)
            message = checked(job.message)
            # Said before it is acknowledged: one that is killed in between has said one too many.
            say(f"{message['origin']} {message['number']}")
            job.acknowledge()
            if message["origin"] == 0:
                break
elif role == "call":
    with ipc.service(name, timeout=PATIENCE).client(as_="dict") as client:
        say("ready")
        for number in range(1, count + 1):
            reply = checked(client.call(item(origin, number), timeout=PATIENCE, retries=10))
            if reply["origin"] != origin or reply["number"] != 2 * number + 1:
                say(f"wrong reply {reply['number']}")
                sys.exit(1)
    say("done")
elif role == "serve":
    with ipc.service(name, timeout=PATIENCE).server(as_="dict") as server:
        say("ready")
        while True:
            call = server.take(timeout=PATIENCE)
            request = checked(call.message)
            try:
                call.reply(item(request["origin"], 2 * request["number"] + 1))
            except ipc.IPCError:
                pass  # another server has it by now, or its caller died
            if request["origin"] == 0:
                break
else:
    sys.exit(2)
