import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// The live page, in headless Chromium.
@Suite struct ViewerTests {
    private func curl(_ address: String, _ more: String...) throws -> String {
        try Peer("curl", ["--silent", "--include", "--max-time", "5"] + more + [address]).finish().text
    }

    @Test func thePageShowsChannelsAndTheirMessages() throws {
        let topic = try Topic<RawBytes>.create(channelName(), ChannelOptions(lifetime: .kept))
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
}
