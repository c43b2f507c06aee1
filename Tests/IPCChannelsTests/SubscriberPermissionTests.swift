import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Permissions of subscribers that mean nothing, or something else than is asked for, are refused, with the bits and the way out.
@Suite struct SubscriberPermissionTests {
    private struct Case: Sendable, CustomStringConvertible {
        var permissions: mode_t = 0o600
        let subscribers: mode_t
        /// What the error says.
        let told: [String]
        var description: String { String(permissions, radix: 8) + " " + String(subscribers, radix: 8) }
    }

    private static let refused = [
        Case(subscribers: 0o600, told: ["0600", "the owner is a participant", "0060"]),
        Case(subscribers: 0o660, told: ["0660", "0600 has no meaning"]),
        Case(subscribers: 0o070, told: ["0070", "0010 has no meaning"]),
        Case(subscribers: 0o2060, told: ["2060", "2000 has no meaning"]),
        Case(subscribers: 0o020, told: ["0020", "a subscriber reads", "request 0060"]),
        Case(subscribers: 0o062, told: ["0062", "0002 allows writing without reading", "request 0066"]),
        Case(permissions: 0o620, subscribers: 0o060, told: ["0620", "0060", "by 0020", "0600"]),
        Case(permissions: 0o660, subscribers: 0o040, told: ["0660", "0040", "0640", "leave 0060 out"]),
        Case(permissions: 0o666, subscribers: 0o066, told: ["0666", "0066", "by 0022", "0644"]),
    ]

    private static let accepted = [
        Case(subscribers: 0o040, told: []), Case(subscribers: 0o060, told: []), Case(subscribers: 0o006, told: []),
        Case(subscribers: 0o066, told: []), Case(permissions: 0o644, subscribers: 0o060, told: []),
        Case(permissions: 0o660, subscribers: 0o006, told: []), Case(permissions: 0o666, subscribers: 0, told: []),
    ]

    private func options(_ test: Case) -> (ChannelOptions, LatestOptions) {
        var (channel, latest) = (ChannelOptions(lifetime: .kept), LatestOptions())
        channel.permissions = FilePermissions(rawValue: test.permissions)
        channel.subscriberPermissions = FilePermissions(rawValue: test.subscribers)
        (latest.permissions, latest.subscriberPermissions) = (channel.permissions, channel.subscriberPermissions)
        latest.lifetime = .kept
        return (channel, latest)
    }

    @Test(arguments: refused) private func whatLetsInNobodyOrParticipantsIsRefused(test: Case) throws {
        let (channel, latest) = options(test)
        let name = channelName()
        for isThere in [false, true] {
            if isThere { _ = try Topic<UInt64>.openOrCreate(name, ChannelOptions(lifetime: .kept)) }
            let error = failure { () throws(IPCError) in _ = try Topic<UInt64>.openOrCreate(name, channel) }
            #expect(error?.code == .invalidArgument)
            for text in test.told { #expect(error?.advice.contains(text) == true, "\(text): \(error?.advice ?? "")") }
            if !isThere { #expect(try !ChannelRoot.current.names().contains(ChannelName(name))) }
        }
        try Topic<UInt64>.remove(name)
        let other = failure { () throws(IPCError) in _ = try Latest<UInt64>.openOrCreate(channelName(), latest) }
        #expect(other?.code == .invalidArgument)
    }

    @Test(arguments: accepted) private func whatMeansSomethingIsTaken(test: Case) throws {
        let (channel, latest) = options(test)
        let (topic, value) = (channelName(), channelName())
        defer {
            try? Topic<UInt64>.remove(topic)
            try? Latest<UInt64>.remove(value)
        }
        _ = try Topic<UInt64>.openOrCreate(topic, channel)
        _ = try Latest<UInt64>.openOrCreate(value, latest)
        #expect(
            try ChannelDescription(ChannelName(topic)).attributes.subscriberPermissions.isEmpty
                == (test.subscribers == 0))
    }

    @Test func capacitiesThatAreNoneAreRefused() throws {
        for number in [Int.min, -1, 0, 1 << 41, .max] {
            var latest = LatestOptions()
            latest.capacity = number
            let error = failure { () throws(IPCError) in _ = try Latest<UInt64>.openOrCreate(channelName(), latest) }
            #expect(error?.code == .invalidArgument && error?.advice.contains("\(number)") == true)
        }
        for number in [Int.min, 0, 1 << 38 + 1, 1 << 39, 1 << 40] {
            var service = ServiceOptions()
            service.capacity = number
            let error = failure { () throws(IPCError) in
                _ = try ServiceChannel<RawBytes, RawBytes, CommandFailure>.openOrCreate(channelName(), service)
            }
            #expect(error?.code == .invalidArgument && error?.advice.contains("\(number)") == true)
        }
    }
}
