import Glibc
import IPC
import IPCChannels
import SystemPackage

/// Servers and callers of a service that doubles numbers: small enough to say of each reply whether it is right.
enum Calls {
    /// The request after which the server that gets it ends.
    static let end = UInt64.max

    typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>

    /// Makes a kept service with these permissions.
    static func make(_ name: String, _ permissions: String) throws {
        var options = ServiceOptions()
        (options.lifetime, options.permissions) = (.kept, FilePermissions(rawValue: CModeT(permissions, radix: 8)!))
        _ = try Doubling.openOrCreate(name, options)
        ChannelPeer.say("made")
    }

    static func serve(_ name: String) throws {
        var server = try Doubling.open(name).makeServer()
        ChannelPeer.say("ready")
        var hasEnded = false
        while !hasEnded {
            try server.serveNext(until: .after(.seconds(60))) { (request) throws(Errno) in
                hasEnded = request == end
                guard request < 1 << 40 else { throw .outOfRange }
                return request * 2
            }
        }
    }

    /// Takes a call, or so many, says so, and never answers them.
    static func hold(_ name: String, count: Int) throws {
        var server = try Doubling.open(name).makeServer()
        ChannelPeer.say("ready")
        try hold(&server, count)
    }

    private static func hold(_ server: inout ServiceChannel<UInt64, UInt64, Errno>.Server, _ count: Int) throws {
        let call = try server.next(until: .after(.seconds(20)))
        if count > 1 {
            try hold(&server, count - 1)
        } else {
            ChannelPeer.say("took \(try call.request)")
        }
        withExtendedLifetime(call) { while true { pause() } }
    }

    /// Calls so often, and looks at each reply; says how often a server was lost in a call.
    static func call(_ name: String, count: Int, retries: Int) throws {
        var client = try Doubling.open(name).makeClient()
        ChannelPeer.say("ready")
        var lost = 0
        for number in 0..<UInt64(count) {
            do throws(IPCError) {
                let reply = try client.call(number, until: .after(.seconds(30)), retries: retries)
                if reply != .success(number * 2) { ChannelPeer.say("\(number) was answered with \(reply)") }
            } catch {
                guard error.code == .brokenPipe else { throw error }
                lost += 1
            }
        }
        ChannelPeer.say("lost \(lost)")
    }

    /// Begins a call, says so, and never waits for it.
    static func leave(_ name: String) throws {
        var client = try Doubling.open(name).makeClient()
        let call = try client.begin(21)
        ChannelPeer.say("called")
        withExtendedLifetime(call) { while true { pause() } }
    }
}
