import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Two builds of one program, as in a rolling upgrade: the newer one's message has another field.
@Suite(.timeLimit(.minutes(10))) struct RollingUpgradeTests {
    private static let program = """
        import IPC
        import IPCChannels

        struct Quote: BitwiseCopyable {
            var symbol: UInt32
            var price: Double
            #if NEW
                var size: Int16
            #endif
        }

        let (role, name) = (CommandLine.arguments[1], CommandLine.arguments[2])
        func quote(_ number: Int) -> Quote {
            #if NEW
                Quote(symbol: UInt32(number), price: Double(number) / 2, size: 7)
            #else
                Quote(symbol: UInt32(number), price: Double(number) / 2)
            #endif
        }
        do {
            switch role {
            case "publish":
                let topic = try Topic<Quote>.openOrCreate(name, ChannelOptions(writers: .shared, lifetime: .kept))
                var publisher = try topic.makePublisher()
                for number in 1...3 { try publisher.publish(quote(number)) }
                print("published")
            case "subscribe":
                let topic = try Topic<Quote>.open(name, compatibility: .prefix)
                var quotes = try topic.makeSubscription(from: .oldest)
                for _ in 0..<3 {
                    let quote = try quotes.receive(until: .after(.seconds(10)))
                    print(quote.symbol, quote.price)
                }
                print("more:", try topic.additionalFields)
            case "set":
                var setter = try Latest<Quote>.openOrCreate(name, LatestOptions(writers: .shared, lifetime: .kept))
                    .makeSetter()
                try setter.set(quote(5))
                print("set")
            default:
                let latest = try Latest<Quote>.open(name, compatibility: .prefix)
                var getter = try latest.makeGetter()
                var observer = try latest.makeObserver()
                print(try getter.get()?.price ?? -1, try observer.get()?.symbol ?? 0, try latest.additionalFields)
            }
        } catch {
            print(error)
        }
        """

    @Test func anOldBuildReadsWhatANewOneWritesAndDoesNotWrite() throws {
        let (old, new) = ("/tmp/" + uniqueName(), "/tmp/" + uniqueName())
        let (topic, latest) = (channelName(), channelName())
        defer {
            for path in [old, new] { unlink(path) }
            for name in [topic, latest] { try? Topic<RawBytes>.remove(name) }
        }
        for (path, options) in [(old, []), (new, ["-D", "NEW"])] {
            let (status, messages) = try SwiftCompiler.build(Self.program, to: path, options)
            try #require(status == .exited(0), "\(messages)")
        }
        func run(_ program: String, _ role: String, _ name: String) throws -> String {
            let (status, text) = try Peer(program, [role, name], environment: ["IPC_ROOT=\(channelRoot)"]).finish()
            #expect(status == .exited(0), "\(role): \(status)")
            return text
        }
        #expect(try run(new, "publish", topic) == "published\n")
        #expect(try run(old, "subscribe", topic) == "1 0.5\n2 1.0\n3 1.5\nmore: [\"size\"]\n")
        #expect(try run(new, "subscribe", topic).hasSuffix("more: []\n"))
        let refused = try run(old, "publish", topic)
        #expect(refused.contains("it has the field size, which this program does not"), "\(refused)")

        #expect(try run(new, "set", latest) == "set\n")
        #expect(try run(old, "get", latest) == "2.5 5 [\"size\"]\n")
        #expect(try run(old, "set", latest).contains("it has the field size"))

        // The other way round, a new build does not get from an old one what that does not have.
        for name in [topic, latest] { try Topic<RawBytes>.remove(name) }
        #expect(try run(old, "publish", topic) == "published\n")
        let missing = try run(new, "subscribe", topic)
        #expect(missing.contains("it does not have the field size of this program"), "\(missing)")
    }
}
