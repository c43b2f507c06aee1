import IPC
import IPCChannels

/// A participant beside those in C and Python: the same roles, which say the same. See LanguageTests.
enum Languages {
    struct Item: BitwiseCopyable {
        var origin: UInt64
        var number: UInt64
        var half: Double
        var text: InlineString<12>
        var isEven: Bool

        init(_ origin: UInt64, _ number: UInt64) {
            (self.origin, self.number, half, isEven) = (origin, number, Double(number) / 2, number.isMultiple(of: 2))
            text = InlineString(truncating: "n\(number)")
        }

        func check() {
            let right = Item(origin, number)
            guard half == right.half, text == right.text, isEven == right.isEven else {
                return ChannelPeer.say("torn: \(number) of \(origin)")
            }
        }
    }

    enum Refusal: Error, BitwiseCopyable { case never }

    static func run(_ role: String, _ name: String, origin: UInt64, count: UInt64) throws {
        let patience = Deadline.after(.seconds(60))
        switch role {
        case "publish":
            var publisher = try Topic<Item>.open(name).makePublisher()
            ChannelPeer.say("ready")
            for number in 1...count { try publisher.publish(Item(origin, number), until: patience) }
        case "push":
            var producer = try WorkQueue<Item>.open(name).makeProducer()
            ChannelPeer.say("ready")
            for number in 1...count { try producer.send(Item(origin, number), until: patience) }
        case "subscribe": try subscribe(name, until: patience)
        case "work":
            var worker = try WorkQueue<Item>.open(name).makeWorker()
            ChannelPeer.say("ready")
            while true {
                let job = try worker.next(until: patience)
                let item = job.message
                item.check()
                ChannelPeer.say("\(item.origin) \(item.number)")
                try job.acknowledge()
                if item.origin == 0 { break }
            }
        case "call":
            var client = try ServiceChannel<Item, Item, Refusal>.open(name).makeClient()
            ChannelPeer.say("ready")
            for number in 1...count {
                let reply = try client.call(Item(origin, number), until: patience, retries: 10).get()
                reply.check()
                guard reply.origin == origin, reply.number == 2 * number + 1 else {
                    return ChannelPeer.say("wrong reply \(reply.number)")
                }
            }
            ChannelPeer.say("done")
        default: try serve(name, until: patience)
        }
    }

    private static func subscribe(_ name: String, until patience: Deadline) throws {
        var subscription = try Topic<Item>.open(name).makeSubscription()
        ChannelPeer.say("ready")
        var last: [UInt64: UInt64] = [:]
        while true {
            let item = try subscription.receive(until: patience)
            item.check()
            if item.origin == 0 { break }
            if item.number != last[item.origin, default: 0] + 1 {
                ChannelPeer.say("gap: \(item.number) after \(last[item.origin, default: 0])")
            }
            last[item.origin] = item.number
        }
        for (origin, number) in last.sorted(by: { $0.key < $1.key }) { ChannelPeer.say("\(origin) \(number)") }
    }

    private static func serve(_ name: String, until patience: Deadline) throws {
        var server = try ServiceChannel<Item, Item, Refusal>.open(name).makeServer()
        ChannelPeer.say("ready")
        while true {
            let call = try server.next(until: patience)
            let item = try call.request
            item.check()
            try? call.reply(Item(item.origin, 2 * item.number + 1))
            if item.origin == 0 { break }
        }
    }
}
