import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// The live page, in headless Chromium.
@Suite(.timeLimit(.minutes(15))) struct ViewerTests {
    private func curl(_ address: String, _ more: String...) throws -> String {
        try Peer("curl", ["--silent", "--include", "--max-time", "5"] + more + [address]).finish().text
    }

    @Test func thePageShowsChannelsAndTheirMessages() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        let viewer = try Tool(["serve-ui"])
        let address = try viewer.peer.said().trimmingCharacters(in: .newlines)
        try #require(address.hasPrefix("http://127.0.0.1:"))
        try publisher.publish("<b>hello</b> page".utf8.span.bytes)

        let profile = "/tmp/\(uniqueName())"
        defer { try? FileManager.default.removeItem(atPath: profile) }
        let name = topic.name.description
        let hash = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!
        let browser = try Peer(
            "chromium",
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=\(profile)",
                "--virtual-time-budget=4000",
                "--dump-dom", "\(address)#\(hash)",
            ])
        let page = try browser.finish(within: .seconds(60)).text
        #expect(page.contains("data-name=\"\(name)\"") && page.contains("<polyline"), "\(page.suffix(2000))")
        // As text, whatever it looks like.
        #expect(page.contains("&lt;b&gt;hello&lt;/b&gt; page"))

        // Only by its address and word, and only to be read.
        let root = address.split(separator: "/").prefix(2).joined(separator: "//") + "/"
        #expect(try curl(root).contains("404"))
        #expect(try curl(root + "wrong/channels").contains("404"))
        #expect(try curl(address + "channels", "--header", "Host: example.com:80").contains("404"))
        #expect(try curl(address + "channels", "--request", "DELETE").contains("404"))
        #expect(try curl(address + "channels").contains("\"name\":\"\(name)\""))
        #expect(try curl(address + "messages?name=none").contains("404"))
        // Nobody has joined the channel for it.
        #expect(try ChannelDescription(topic.name).participants.count == 1)
        let port = address.split(separator: ":")[2].prefix { $0 != "/" }
        let second = try ipc("serve-ui", "--port", "\(port)")
        #expect(second.status == .exited(6) && second.errors.contains("--port"), "\(second.errors)")
        try viewer.peer.child.handle.send(.interrupt)
        #expect(try viewer.finish().status == .exited(130))
    }

    /// The server's address, without the word, and the word.
    private func parts(_ address: String) throws -> (port: UInt16, token: String) {
        let words = address.split(separator: "/")
        return (try #require(UInt16(words[1].split(separator: ":")[1])), String(words[2]))
    }

    @Test(.timeLimit(.minutes(15))) func silentConnectionsKeepNobodyFromThePage() throws {
        let viewer = try Tool(["serve-ui"])
        let address = try viewer.peer.said().trimmingCharacters(in: .newlines)
        let port = try parts(address).port
        // Silent ones, and ones that have begun to ask: more than there may be, and more than there are descriptors.
        let flood = try Peer(
            "python3",
            [
                "-c",
                """
                import resource, socket, sys
                sys.stderr = sys.stdout
                resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
                all = []
                for i in range(1500):
                    s = socket.create_connection(("127.0.0.1", \(port)))
                    try:
                        if i % 2: s.send(b"GET /")
                    except OSError: pass  # it has been ended for another
                    all.append(s)
                print("there", flush=True)
                import time; time.sleep(1000)
                """,
            ])
        let said = try flood.said()
        #expect(said.hasPrefix("there"))
        for _ in 0..<5 {
            let clock = ContinuousClock.now
            #expect(try curl(address + "channels").contains("200 OK"))
            #expect(ContinuousClock.now - clock < .seconds(4))
        }
        let isAlive = viewer.peer.child.handle.isAlive
        #expect(isAlive)
        try flood.kill()
        try viewer.peer.child.handle.send(.terminate)
        let outcome = try viewer.finish()
        #expect(outcome.status == .exited(143) && outcome.errors.contains("64 connections"), "\(outcome.errors)")
    }

    @Test(.timeLimit(.minutes(15))) func aLookAtLargeBinaryMessagesBlocksNobody() throws {
        let topic = try Topic<RawBytes>.openOrCreate(
            channelName(), ChannelOptions(overflow: .overwrite, lifetime: .kept, capacity: 1 << 26))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        let large = [UInt8](repeating: 0xff, count: 3 << 20)
        for _ in 0..<18 { try publisher.publish(large.span.bytes) }
        let viewer = try Tool(["serve-ui"])
        let address = try viewer.peer.said().trimmingCharacters(in: .newlines)
        let name = topic.name.description.replacingOccurrences(of: "/", with: "%2F")
        let looks = try (0..<4).map { _ in
            SharedReference(
                try ChildProcess("curl", ["--silent", "--output", "/dev/null", address + "messages?name=" + name]))
        }
        let clock = ContinuousClock.now
        #expect(try curl(address + "channels").contains("200 OK"))
        #expect(ContinuousClock.now - clock < .seconds(4))
        for look in looks { #expect(try look.value.wait(until: .after(.seconds(20))) == .exited(0)) }
        let answer = try curl(address + "messages?name=" + name)
        #expect(answer.contains("\"bytes\":\(large.count)") && answer.utf8.count < 100_000)
        #expect(answer.contains("\"hex\":\"ffff"))
        try viewer.peer.child.handle.send(.terminate)
        _ = try viewer.finish()
    }

    @Test(.timeLimit(.minutes(15))) func whatIsNoRequestIsRefused() throws {
        let viewer = try Tool(["serve-ui"])
        let (port, token) = try parts(viewer.peer.said().trimmingCharacters(in: .newlines))
        let host = "Host: 127.0.0.1:\(port)\r\n"
        let requests = [
            "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\(token)/ HTTP/1.1\r\n\(host)\(host)\r\n",
            "GET /\(token)/messages?name=%zz HTTP/1.1\r\n\(host)\r\n",
            "GET /\(token)/messages?name=%2 HTTP/1.1\r\n\(host)\r\n",
            "GET /\(token)/messages?name=\(String(repeating: "a", count: 9000)) HTTP/1.1\r\n\(host)\r\n",
            "\u{0}\u{1b}[31m\r\n\r\n",
            "POST /\(token)/ HTTP/1.1\r\n\(host)Content-Length: 99999999999999999999\r\n\r\n",
        ]
        for request in requests {
            let client = try StreamSocket.connect(to: .tcp(host: "127.0.0.1", port: port))
            try client.write(Array(request.utf8).span.bytes)
            // A reset is what one gets that says too much.
            let answer = (try? client.readToEnd(until: .after(.seconds(20)))) ?? []
            #expect(!String(decoding: answer, as: UTF8.self).contains("200 OK"), "\(request.debugDescription)")
        }
        let client = try StreamSocket.connect(to: .tcp(host: "127.0.0.1", port: port))
        try client.write(Array("GET /\(token)/ HTTP/1.1\r\nAccept: */*\r\n\(host)\r\n".utf8).span.bytes)
        #expect(String(decoding: try client.readToEnd(until: .after(.seconds(20))), as: UTF8.self).contains("200 OK"))
        try viewer.peer.child.handle.send(.terminate)
        _ = try viewer.finish()
    }
}
