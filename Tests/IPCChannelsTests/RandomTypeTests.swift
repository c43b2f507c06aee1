import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// A type that random types are made of. Its values say themselves what they are as JSON, without any schema.
private protocol Sample: BitwiseCopyable {
    static func random(_ generator: inout Seeded) -> Self
    var json: String { get }
    /// Whether it is an optional.
    static var isOptional: Bool { get }
}

extension Sample {
    static var isOptional: Bool { false }
}

extension Sample where Self: FixedWidthInteger & BitwiseCopyable {
    static func random(_ generator: inout Seeded) -> Self {
        generator.chance(20)
            ? [.min, .max, 0][generator.number(0...2)] : Self.random(in: .min ... .max, using: &generator)
    }
    var json: String { "\(self)" }
}
extension Int8: Sample {}
extension UInt16: Sample {}
extension Int32: Sample {}
extension UInt64: Sample {}
extension Int128: Sample {}
extension UInt128: Sample {}

extension Bool: Sample {
    static func random(_ generator: inout Seeded) -> Bool { generator.chance(50) }
    var json: String { "\(self)" }
}

extension Sample where Self: BinaryFloatingPoint & BitwiseCopyable {
    static func random(_ generator: inout Seeded) -> Self { Self(generator.number(-1000...1000)) / 8 }
    var json: String { self == rounded() ? "\(Int(self))" : "\(self)" }
}
extension Float16: Sample {}
extension Float: Sample {}
extension Double: Sample {}
#if arch(x86_64)
    extension Float80: Sample {}
#endif

/// Vectors of the processor.
private struct Vectors: Sample {
    var position: SIMD3<Float>
    var samples: SIMD8<UInt16>
    static func random(_ generator: inout Seeded) -> Self {
        Vectors(
            position: SIMD3(.random(&generator), .random(&generator), .random(&generator)),
            samples: SIMD8((0..<8).map { _ in .random(&generator) }))
    }
    var json: String {
        let (x, y, z) = (position.x.json, position.y.json, position.z.json)
        let elements = samples.indices.map { samples[$0].json }.joined(separator: ",")
        return "{\"position\":{\"x\":\(x),\"y\":\(y),\"z\":\(z)},\"samples\":{\"elements\":[\(elements)]}}"
    }
}

extension Unicode.Scalar: Sample {
    static func random(_ generator: inout Seeded) -> Unicode.Scalar { generator.pick(["a", "ß", "한", "\u{10FFFF}"]) }
    var json: String { String(Character(self)).quotedForJSON }
}

private enum One: Sample, CaseIterable { case only }
private enum Three: Sample, CaseIterable { case first, second, `default` }
private enum Raw: Int, Sample, CaseIterable { case low = -7, high = 300 }

extension Sample where Self: CaseIterable {
    static func random(_ generator: inout Seeded) -> Self { generator.pick(Array(allCases)) }
    var json: String { "\(self)".quotedForJSON }
}

private struct None: Sample {
    static func random(_ generator: inout Seeded) -> None { None() }
    var json: String { "{}" }
}

private struct Single<A: Sample>: Sample {
    var a: A
    static func random(_ generator: inout Seeded) -> Self { Single(a: .random(&generator)) }
    var json: String { "{\"a\":\(a.json)}" }
}

private struct Two<A: Sample, B: Sample>: Sample {
    var first: A
    var `class`: B
    static func random(_ generator: inout Seeded) -> Self {
        Two(first: .random(&generator), class: .random(&generator))
    }
    var json: String { "{\"first\":\(first.json),\"class\":\(`class`.json)}" }
}

private struct Triple<A: Sample, B: Sample, C: Sample>: Sample {
    var x: A, `two words`: B, z: C
    static func random(_ generator: inout Seeded) -> Self {
        Triple(x: .random(&generator), `two words`: .random(&generator), z: .random(&generator))
    }
    var json: String { "{\"x\":\(x.json),\"two words\":\(`two words`.json),\"z\":\(z.json)}" }
}

/// A tuple cannot conform to anything, so it is a field.
private struct Tuples<A: Sample, B: Sample>: Sample {
    var plain: (A, B)
    var named: (B, second: A)
    var optional: (A, B)?
    static func random(_ generator: inout Seeded) -> Self {
        Tuples(
            plain: (.random(&generator), .random(&generator)), named: (.random(&generator), .random(&generator)),
            optional: generator.chance(50) ? nil : (.random(&generator), .random(&generator)))
    }
    var json: String {
        let some = optional.map { "[\($0.0.json),\($0.1.json)]" } ?? "null"
        return "{\"plain\":[\(plain.0.json),\(plain.1.json)],"
            + "\"named\":{\"0\":\(named.0.json),\"second\":\(named.1.json)},\"optional\":\(some)}"
    }
}

extension Optional: Sample where Wrapped: Sample {
    static var isOptional: Bool { true }
    static func random(_ generator: inout Seeded) -> Self {
        generator.chance(40) ? nil : .random(&generator) as Wrapped
    }
    var json: String {
        guard let value = self else { return "null" }
        return Wrapped.isOptional ? "{\"some\":\(value.json)}" : value.json
    }
}

extension InlineArray: Sample where Element: Sample {
    static func random(_ generator: inout Seeded) -> Self { Self { _ in .random(&generator) } }
    var json: String { "[" + indices.map { self[$0].json }.joined(separator: ",") + "]" }
}

extension InlineList: Sample where Element: Sample {
    static func random(_ generator: inout Seeded) -> Self {
        var list = Self()
        for _ in 0..<generator.number(0...capacity) { try! list.append(.random(&generator)) }
        return list
    }
    var json: String { "[" + map(\.json).joined(separator: ",") + "]" }
}

extension InlineString: Sample {
    static func random(_ generator: inout Seeded) -> Self {
        Self(truncating: generator.pick(["", "a", "\"\\\n", "ßß한", "\u{1}", "null"]))
    }
    var json: String { string.quotedForJSON }
}

/// Types at random. Where Swift places their parts, and what their values are, is known by Swift alone; the library has to find the
/// same by its schema.
@Suite(.timeLimit(.minutes(5))) struct RandomTypeTests {
    private static var simple: [any Sample.Type] {
        let all: [any Sample.Type] = [
            Int8.self, UInt16.self, Int32.self, UInt64.self, Int128.self, UInt128.self, Bool.self, Bool.self,
            Float16.self, Float.self, Double.self, Unicode.Scalar.self, One.self, Three.self, Three.self, Raw.self,
            None.self, InlineString<5>.self, InlineString<0>.self, Vectors.self,
        ]
        #if arch(x86_64)
            return all + [Float80.self]
        #else
            return all
        #endif
    }

    private static func type(_ depth: Int, _ generator: inout Seeded) -> any Sample.Type {
        if depth == 0 || generator.chance(15) { return generator.pick(simple) }
        let (a, b) = (type(depth - 1, &generator), type(depth - 1, &generator))
        return generator.chance(50)
            ? of(a, &generator) : of(a, b, type(generator.number(0...depth - 1), &generator), &generator)
    }

    private static func of<A: Sample>(_ a: A.Type, _ generator: inout Seeded) -> any Sample.Type {
        switch generator.number(0...8) {
        case 0...2: A?.self
        case 3: A??.self
        case 4: [3 of A].self
        case 5: [0 of A].self
        case 6: InlineList<A, 4>.self
        case 7: InlineList<A, 0>.self
        default: Single<A>.self
        }
    }

    private static func of<A: Sample, B: Sample, C: Sample>(
        _ a: A.Type, _ b: B.Type, _ c: C.Type, _ generator: inout Seeded
    ) -> any Sample.Type {
        switch generator.number(0...3) {
        case 0: Two<A, B>.self
        case 1, 2: Triple<A, B, C>.self
        default: Tuples<A, B>.self
        }
    }

    private static func check<Value: Sample>(_ type: Value.Type, _ generator: inout Seeded) throws {
        let schema = try MessageSchema(of: type)
        #expect(schema.byteCount == MemoryLayout<Value>.size && schema.alignment == MemoryLayout<Value>.alignment)
        #expect(schema.stride == MemoryLayout<Value>.stride, "\(type)")
        #expect(try MessageSchema(json: schema.json) == schema, "\(type)")
        let checks = MessageChecks(schema.checks, type: schema.name)
        for _ in 0..<6 {
            let value = Value.random(&generator)
            let bytes = withUnsafeBytes(of: value) { Array($0) }
            let json = try schema.json(of: bytes)
            #expect(json == value.json, "\(type)")
            // And back. What is in the gaps does not matter.
            var message = try schema.message(json: json)
            #expect(message.count == bytes.count)
            if message.isEmpty { continue }
            message.withUnsafeMutableBytes { buffer in
                #expect(checks?.firstInvalid(in: buffer.baseAddress!) == nil, "\(type): \(json)")
                #expect(buffer.loadUnaligned(as: Value.self).json == value.json, "\(type)")
            }
            #expect(try schema.json(of: message) == json, "\(type)")
        }
    }

    @Test(arguments: 0..<8) func layoutsAndValuesAreThoseOfSwift(seed: Int) throws {
        var generator = Seeded(7, UInt64(seed))
        var names: Set<String> = []
        for _ in 0..<150 {
            let type = Self.type(4, &generator)
            names.insert("\(type)")
            try Self.check(type, &generator)
        }
        #expect(names.count > 60, "\(names.count)")
    }

    /// A type and values of it for another program, and the check of what that program writes for them.
    private struct Exchange {
        let line: String
        let check: (_ messages: [[UInt8]]) -> Void

        init<Value: Sample>(_ type: Value.Type, _ generator: inout Seeded) throws {
            let schema = try MessageSchema(of: type)
            let values = (0..<6).map { _ in Value.random(&generator) }
            let messages = values.map { value in
                "[\"\(withUnsafeBytes(of: value) { Array($0)[...].hexadecimal })\",\(value.json)]"
            }
            let numbers = [
                MemoryLayout<Value>.size, MemoryLayout<Value>.alignment, MemoryLayout<Value>.stride,
                MemoryLayout<Value?>.size,
            ]
            line =
                "{\"type\":\("\(type)".quotedForJSON),\"layout\":\(numbers),\"schema\":\(schema.json),"
                + "\"messages\":[\(messages.joined(separator: ","))]}"
            check = { messages in
                #expect(messages.count == values.count, "\(type)")
                for (message, value) in zip(messages, values) where !message.isEmpty {
                    guard message.count == MemoryLayout<Value>.size else {
                        Issue.record("\(type): \(message.count) bytes")
                        continue
                    }
                    let read = message.withUnsafeBytes { $0.loadUnaligned(as: Value.self).json }
                    #expect(read == value.json, "\(type)")
                }
            }
        }
    }

    private static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent().string

    /// Python finds the same layout by its own rules, reads the values that Swift has, and writes values that Swift reads.
    @Test(.enabled(if: getenv("IPC_TEST_PYTHON") != nil && access(product("libipc-c.so"), F_OK) == 0))
    func layoutsAndValuesAreThoseOfSwiftInPython() throws {
        var generator = Seeded(7, 100)
        var exchanges: [Exchange] = []
        func add<Value: Sample>(_ type: Value.Type) throws { exchanges.append(try Exchange(type, &generator)) }
        for _ in 0..<400 { try add(Self.type(4, &generator)) }
        for type in Self.simple { try add(type) }
        let file = FilePath("/tmp/" + uniqueName())
        let descriptor = try FileDescriptor.open(
            file, .readWrite, options: [.create, .exclusiveCreate], permissions: .ownerReadWrite)
        defer { unlink(file.string) }
        try descriptor.closeAfter { _ = try descriptor.writeAll(exchanges.flatMap { Array(($0.line + "\n").utf8) }) }
        let bindings = Self.repository + "/Bindings/Python"
        let peer = try Peer(
            python, [bindings + "/tests/random_types.py", file.string],
            environment: [
                "PATH=/usr/bin:/bin", "SWIFT_IPC_LIBRARY=" + product("libipc-c.so"), "PYTHONPATH=\(bindings)",
                "PYTHONDONTWRITEBYTECODE=1",
            ])
        let (status, text) = try peer.finish()
        try #require(status == .exited(0), "\(text.suffix(4000))")
        let lines = text.split(separator: "\n")
        try #require(lines.count == exchanges.count)
        for (exchange, line) in zip(exchanges, lines) {
            let messages = line.split(separator: ",", omittingEmptySubsequences: false)
            exchange.check(messages.map { [UInt8](hexadecimal: String($0)) ?? [] })
        }
    }
}
