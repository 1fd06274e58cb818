using static TorchSharp.torch;

namespace Rlhf.Weights.PyTorch;

// What a pickle can hold besides null, bool, long, BigInteger, double, string, byte[] and List<object?>.

/// <summary>A tuple.</summary>
internal sealed record PickleTuple(object?[] Items)
{
    public static readonly PickleTuple Empty = new([]);
}

/// <summary>A dict in the order of insertion. Keys are not hashed, since a hostile one may nest without end.</summary>
internal sealed class PickleDict
{
    public List<KeyValuePair<object?, object?>> Items { get; } = [];
}

/// <summary>A name from the list of allowed ones.</summary>
internal sealed record PickleGlobal(string Name);

/// <summary>Elements of one type somewhere in the file.</summary>
internal sealed record PickledStorage(string Key, ScalarType Type, long Elements);

/// <summary>A storage, or a part of one: the oldest files name views of storages.</summary>
internal sealed record PickledStorageView(PickledStorage Storage, long Offset, long Elements);

/// <summary>A tensor as a view into a storage; the offset and strides count elements.</summary>
internal sealed record PickledTensor(PickledStorage Storage, long Offset, long[] Shape, long[] Strides);
