import Glibc
import IPC
import TestSupport
import Testing

@testable import IPCChannels

@c enum OfC: Int32, BitwiseCopyable { case first = 5, second = 9 }

/// Which types are the same, and which may be messages at all.
@Suite(.timeLimit(.minutes(10))) struct TypeIdentityTests {
    struct Holder<Value: BitwiseCopyable>: BitwiseCopyable { var number: Int32, value: Value }

    /// The types that an enumeration may be part of.
    private static func types<Side: BitwiseCopyable>(of side: Side.Type) throws(IPCError) -> [MessageType] {
        [
            try .of(Side.self), try .of(Holder<Side>.self), try .of(Holder<Holder<Side>>.self), try .of(Side?.self),
            try .of(Side??.self), try .of(Holder<Side?>.self), try .of((Int32, Side).self),
            try .of(Holder<(first: Side?, second: Int16)>.self), try .of([3 of Side].self),
            try .of([2 of Holder<Side>]?.self),
        ]
    }

    // All have one name, as those of two programs; each is local to a function, which no name tells of.
    private static func original() throws -> [MessageType] {
        enum Side: UInt16, BitwiseCopyable { case buy = 1, sell = 2 }
        return try types(of: Side.self)
    }
    private static func equal() throws -> [MessageType] {
        enum Side: UInt16, BitwiseCopyable { case buy = 1, sell }
        return try types(of: Side.self)
    }
    private static func ordered() throws -> [MessageType] {
        enum Side: UInt16, BitwiseCopyable { case sell = 2, buy = 1 }
        return try types(of: Side.self)
    }
    private static func renamed() throws -> [MessageType] {
        enum Side: UInt16, BitwiseCopyable { case bid = 1, sell = 2 }
        return try types(of: Side.self)
    }
    private static func longer() throws -> [MessageType] {
        enum Side: UInt16, BitwiseCopyable { case buy = 1, sell = 2, hold = 3 }
        return try types(of: Side.self)
    }
    private static func renumbered() throws -> [MessageType] {
        enum Side: UInt16, BitwiseCopyable { case buy = 1, sell = 3 }
        return try types(of: Side.self)
    }
    private static func spelled() throws -> [MessageType] {
        enum Side: String, BitwiseCopyable { case buy = "1", sell = "2" }
        return try types(of: Side.self)
    }
    private static func respelled() throws -> [MessageType] {
        enum Side: String, BitwiseCopyable { case buy = "1", sell = "3" }
        return try types(of: Side.self)
    }
    private static func plain() throws -> [MessageType] {
        enum Side: BitwiseCopyable { case buy, sell }
        return try types(of: Side.self)
    }

    @Test func anEnumerationsCasesArePartOfATypesIdentityWhereverItIs() throws {
        let original = try Self.original()
        #expect(try Self.equal() == original)
        let others = [
            try Self.ordered(), try Self.renamed(), try Self.longer(), try Self.renumbered(), try Self.spelled(),
            try Self.respelled(), try Self.plain(),
        ]
        for (index, type) in original.enumerated() {
            #expect(others.allSatisfy { $0[index].name == type.name && $0[index] != type }, "\(type.name)")
            #expect(Set(others.map { $0[index].fingerprint }).count == others.count, "\(type.name)")
        }
    }

    @Test func theErrorSaysThatCasesDifferAndWhichOnesAreHere() throws {
        func create(_ name: String) throws(IPCError) -> Topic<Holder<Int8>>? {
            enum Side: BitwiseCopyable { case buy, sell }
            _ = try Topic<Holder<Side>>.openOrCreate(name, ChannelOptions(lifetime: .kept))
            return nil
        }
        func open(_ name: String) throws(IPCError) {
            enum Side: BitwiseCopyable { case sell, buy, hold }
            _ = try Topic<Holder<Side>>.open(name)
        }
        let name = channelName()
        _ = try create(name)
        defer { try? Channel.remove(name) }
        let error = failure { () throws(IPCError) in try open(name) }
        #expect(error?.code == .wrongType)
        let told = "value has 2 cases (buy, sell), and 3 cases (sell, buy, hold) in this program"
        #expect(error?.advice.contains(told) == true, "\(String(describing: error))")
    }

    @Test func theErrorSaysThatFieldsDiffer() throws {
        func create(_ name: String) throws(IPCError) {
            struct Order: BitwiseCopyable { var price: Int32, count: Int32 }
            _ = try Topic<Order>.openOrCreate(name, ChannelOptions(lifetime: .kept))
        }
        func open(_ name: String) throws(IPCError) {
            struct Order: BitwiseCopyable { var count: Int32, price: Int32 }
            _ = try Topic<Order>.open(name)
        }
        let name = channelName()
        try create(name)
        defer { try? Channel.remove(name) }
        let error = failure { () throws(IPCError) in try open(name) }
        #expect(
            error?.code == .wrongType
                && error?.advice.contains("its field 1 is price, and count in this program") == true)
    }

    @Test func aServicesTypesCountEachByItself() throws {
        func create(_ name: String) throws(IPCError) {
            enum Refusal: Error, BitwiseCopyable { case late, full }
            _ = try ServiceChannel<Int32, Bool, Refusal>.openOrCreate(name)
        }
        func type(_ order: Bool) throws(IPCError) -> MessageType {
            enum Refusal: Error, BitwiseCopyable { case late, full }
            func other() throws(IPCError) -> MessageType {
                enum Refusal: Error, BitwiseCopyable { case full, late }
                return try .of(Refusal.self)
            }
            return try .call(.of(Int32.self), .of(Bool.self), failure: order ? other() : .of(Refusal.self))
        }
        #expect(try type(true) != type(false) && type(false) == type(false))
    }

    enum Nothing: BitwiseCopyable {}
    enum WithValues: BitwiseCopyable { case number(Int32), none }

    @Test func whatCannotBeCheckedOrIsAnAddressIsRefusedByItsField() {
        func refusal<Value: BitwiseCopyable>(_ type: Value.Type) -> IPCError? {
            let name = String(reflecting: Holder<Value>.self)
            let error = failure { () throws(IPCError) in _ = try MessageType.of(Holder<Value>.self) }
            #expect(error?.code == .wrongType && error?.resource.hasPrefix(name + ".value") == true, "\(name)")
            return error
        }
        // An enumeration that is its raw value, one without values, one that carries some.
        #expect(refusal(OfC.self)?.advice.contains("cases cannot be determined") == true)
        #expect(refusal(Nothing.self)?.advice.contains("has no values") == true)
        #expect(refusal(Nothing?.self)?.advice.contains("has no values") == true)
        #expect(refusal(WithValues.self)?.advice.contains("associated values") == true)
        #expect(refusal(Unicode.UTF8.EncodedScalar.self)?.advice.contains("bit patterns that are not values") == true)
        for error in [
            refusal([2 of UnsafeRawPointer].self), refusal(StaticString.self),
            refusal((@convention(c) () -> Void).self),
            refusal(Any.Type.self), refusal(UnownedJob.self), refusal(UnsafeContinuation<Int, Never>.self),
            refusal((Int, ObjectIdentifier??).self),
        ] { #expect(error?.advice.contains("is an address") == true) }
    }

    @Test func typesWhoseEveryBitPatternIsAValueHaveNoChecks() throws {
        enum Single: BitwiseCopyable { case only }
        func hasChecks<Value: BitwiseCopyable>(_ type: Value.Type) throws -> Bool {
            try MessageType.of(Holder<Value>.self).checks != nil
        }
        let without = [
            try hasChecks(Int.self), try hasChecks(UInt128.self), try hasChecks(Float.self), try hasChecks(Double.self),
            try hasChecks(SIMD4<Float>.self), try hasChecks(Duration.self), try hasChecks([100 of UInt8].self),
            try hasChecks((Int8, Float16).self), try hasChecks(timespec.self), try hasChecks(Single.self),
            try hasChecks([0 of Bool].self),
        ]
        #expect(!without.contains(true), "\(without)")
        let with = [
            try hasChecks(Bool.self), try hasChecks(Unicode.Scalar.self), try hasChecks(Int32?.self),
            try hasChecks([4 of Bool].self), try hasChecks(FloatingPointSign.self), try hasChecks(Single?.self),
        ]
        #expect(!with.contains(false), "\(with)")
    }
}
