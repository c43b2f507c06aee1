/// What has to hold at one place of a message for its bytes to be a value of its type.
struct ValueCheck {
    enum Kind {
        /// A number of `width` bytes is less than the limit: the case of an enumeration, or a `Bool`.
        case below(UInt64, width: Int)
        /// A `UInt32` is a Unicode scalar: no surrogate, and at most 0x10FFFF.
        case scalar
        /// The inner checks hold, unless it is nil.
        case optional(OptionalLayout)
        /// The inner checks hold for each of the elements.
        case each(count: Int, stride: Int)
    }

    let kind: Kind
    /// The type of the place.
    let type: String
    /// From the beginning of the value, of the optional, or of the element that it is a check of.
    var offset = 0
    /// The fields that lead there from the same beginning.
    var label = ""
    let inner: [ValueCheck]

    init(_ kind: Kind, _ type: String, _ inner: [ValueCheck] = []) {
        self.kind = kind
        self.type = type
        self.inner = inner
    }
}
