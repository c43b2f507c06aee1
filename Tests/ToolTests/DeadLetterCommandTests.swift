import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// What `ipc rm` does with a queue's dead letters, and what is printed of them.
@Suite(.timeLimit(.minutes(15))) struct DeadLetterCommandTests {
    /// A queue with so many letters.
    private func queue(_ count: Int) throws -> String {
        let name = channelName()
        for number in 0..<count { _ = try ipc("queue", "push", name, "--time-to-live", "0", "old \(number)") }
        if count == 0 { _ = try ipc("queue", "push", name, "job") }
        _ = try ipc("queue", "work", name, "--timeout", "0.1")
        if count == 0 { _ = try WorkQueue<RawBytes>.open(name).deadLetters() }
        return name
    }

    private func isThere(_ name: String) throws -> Bool { try ChannelRoot.current.names().contains(ChannelName(name)) }

    @Test func lettersThatStayAreTold() throws {
        for (count, text) in [(1, "dead letter is kept"), (3, "3 dead letters are kept")] {
            let name = try queue(count)
            let letters = name + "/dead-letters"
            let removed = try ipc("rm", name)
            #expect(removed.status == .exited(0) && removed.errors.contains(text), "\(removed.errors)")
            #expect(removed.errors.contains("ipc rm \(letters)"), "\(removed.errors)")
            #expect(try !isThere(name) && isThere(letters))
            let rest = try ipc("rm", letters)
            #expect(try rest.status == .exited(0) && rest.errors.isEmpty && !isThere(letters), "\(rest.errors)")
        }
    }

    @Test func whereThereAreNoneNothingStays() throws {
        let name = try queue(0)
        #expect(try isThere(name + "/dead-letters"))
        let removed = try ipc("rm", name)
        #expect(removed.status == .exited(0) && removed.errors.isEmpty, "\(removed.errors)")
        #expect(try !isThere(name) && !isThere(name + "/dead-letters"))
    }

    @Test func bothMayBeNamed() throws {
        for count in [0, 2] {
            let name = try queue(count)
            for names in [[name, name + "/dead-letters"], [name + "/dead-letters", name]] {
                let again = try isThere(name) ? name : queue(count)
                let words = names.map { $0.replacing(name, with: again) }
                let removed = try Tool(["rm"] + words).finish()
                #expect(removed.status == .exited(0) && removed.errors.isEmpty, "\(removed.errors)")
                #expect(try !isThere(again) && !isThere(again + "/dead-letters"))
            }
        }
    }

    /// What only has the name of dead letters is no queue's.
    @Test func anotherChannelOfTheirNameStays() throws {
        let name = channelName()
        defer { try? Topic<RawBytes>.remove(name + "/dead-letters") }
        _ = try ipc("topic", "publish", name, "x", "--keep")
        _ = try ipc("queue", "push", name + "/dead-letters", "x")
        let removed = try ipc("rm", name)
        #expect(removed.status == .exited(0) && removed.errors.isEmpty, "\(removed.errors)")
        #expect(try isThere(name + "/dead-letters"))
    }

    @Test func attemptsAreThoseOfTheJob() throws {
        let name = channelName()
        defer { for name in [name, name + "/dead-letters"] { try? WorkQueue<RawBytes>.remove(name) } }
        _ = try ipc("queue", "push", name, "--attempts", "3", "bad")
        _ = try ipc("queue", "work", name, "--timeout", "0.3", "--", "false")
        let text = try ipc("queue", "dead", name, "--format", "json").output
        let letter = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
        #expect(letter["attempts"] as? Int == 3, "\(text)")
        #expect(Set(letter.keys) == ["stage", "attempts", "reason", "time", "process", "text"], "\(text)")
    }
}
