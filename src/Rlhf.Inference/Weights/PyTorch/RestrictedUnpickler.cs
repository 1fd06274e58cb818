using System.Globalization;
using System.Numerics;

namespace Rlhf.Weights.PyTorch;

/// <summary>
/// Python's pickle machine with nothing to call but <see cref="TorchGlobals"/>. It works on an explicit stack, never looks into
/// what it has built, and makes at most one object per operation, so neither depth nor size of a hostile pickle can hurt.
/// </summary>
internal sealed class RestrictedUnpickler(PickleInput input)
{
    private const int LongestNumber = 256;

    private readonly List<object?> stack = [];
    private readonly Stack<int> marks = [];
    private readonly Dictionary<long, object?> memo = [];
    private readonly Dictionary<string, PickledStorage> storages = [];

    /// <summary>Runs one pickle to its end and returns what it holds, and the storages that it refers to.</summary>
    /// <exception cref="InvalidDataException">The pickle is damaged, or refers to anything beyond rebuilding tensors.</exception>
    public static (object? Value, IReadOnlyDictionary<string, PickledStorage> Storages) Run(PickleInput input)
    {
        var machine = new RestrictedUnpickler(input);
        for (var code = input.Byte(); code != '.'; code = input.Byte())
        {
            input.Spend(1);
            machine.Execute(code);
        }
        return (machine.Pop(), machine.storages);
    }

    private void Execute(byte code)
    {
        switch (code)
        {
            case 0x80: // PROTO
                if (input.Byte() is > 5 and var protocol)
                    throw input.Refuse($"pickle protocol {protocol} is not known.");
                break;
            case 0x95: _ = input.UInt64(); break; // FRAME: only a hint for buffering

            case (byte)'(': marks.Push(stack.Count); break;
            case (byte)'0': PopItemOrMark(); break;
            case (byte)'1': PopMark(); break;
            case (byte)'2': Push(Top()); break;

            case (byte)'N': Push(null); break;
            case 0x88: Push(true); break;
            case 0x89: Push(false); break;
            case (byte)'K': Push((long)input.Byte()); break;
            case (byte)'M': Push((long)input.UInt16()); break;
            case (byte)'J': Push((long)input.Int32()); break;
            case 0x8a: Push(BigNumber(input.Byte())); break;
            case 0x8b: Push(BigNumber(input.UInt32())); break;
            case (byte)'I': Push(TextNumber(input.Line())); break;
            case (byte)'L': Push(TextNumber(input.Line().TrimEnd('L'))); break;
            case (byte)'G': Push(input.Double()); break;
            case (byte)'F': Push(TextDouble(input.Line())); break;

            case (byte)'X' or (byte)'T': Push(input.Utf8(input.UInt32())); break;
            case 0x8c or (byte)'U': Push(input.Utf8(input.Byte())); break;
            case 0x8d: Push(input.Utf8(input.UInt64())); break;
            case (byte)'V': Push(PlainText(input.Line())); break;
            case (byte)'S': Push(Unquote(input.Line())); break;
            case (byte)'C': Push(input.Bytes(input.Byte())); break;
            case (byte)'B': Push(input.Bytes(input.UInt32())); break;
            case 0x8e or 0x96: Push(input.Bytes(input.UInt64())); break;

            case (byte)']' or 0x8f: Push(new List<object?>()); break; // a set is kept as a list
            case (byte)'l' or 0x91: Push(PopMark().ToList()); break;
            case (byte)'a': Append([Pop()]); break;
            case (byte)'e' or 0x90: Append(PopMark()); break;
            case (byte)')': Push(PickleTuple.Empty); break;
            case (byte)'t': Push(new PickleTuple(PopMark())); break;
            case 0x85 or 0x86 or 0x87: Push(new PickleTuple(PopMany(code - 0x84))); break;
            case (byte)'}': Push(new PickleDict()); break;
            case (byte)'d':
                var pairs = PopMark();
                Push(new PickleDict());
                SetItems(pairs);
                break;
            case (byte)'s': SetItems(PopMany(2)); break;
            case (byte)'u': SetItems(PopMark()); break;

            case (byte)'q': memo[input.Byte()] = Top(); break;
            case (byte)'r': memo[input.UInt32()] = Top(); break;
            case (byte)'p': memo[MemoIndex(input.Line())] = Top(); break;
            case 0x94: memo[memo.Count] = Top(); break;
            case (byte)'h': Push(Recall(input.Byte())); break;
            case (byte)'j': Push(Recall(input.UInt32())); break;
            case (byte)'g': Push(Recall(MemoIndex(input.Line()))); break;

            case (byte)'c':
                var module = input.Line();
                Push(TorchGlobals.Find(input, module, input.Line()));
                break;
            case 0x93:
                Push(PopMany(2) is [string owner, string name] ? TorchGlobals.Find(input, owner, name)
                    : throw input.Refuse("names a global with something that is not text."));
                break;
            case (byte)'i':
                var instanceModule = input.Line();
                throw Unexpected(TorchGlobals.Find(input, instanceModule, input.Line()).Name);
            case (byte)'R':
                var arguments = Pop();
                Push(TorchGlobals.Call(input, Pop(), arguments));
                break;
            case (byte)'b':
                // The attributes of a state dict (its _metadata) say nothing about the tensors.
                _ = Pop();
                if (Top() is not PickleDict)
                    throw input.Refuse("sets attributes of something that is not a state dict.");
                break;
            case (byte)'Q': Push(Storage(TorchGlobals.PersistentStorage(input, Pop()))); break;

            default: throw Unexpected($"operation 0x{code:x2}");
        }
    }

    private PickledStorageView Storage(PickledStorageView view)
    {
        if (!storages.TryAdd(view.Storage.Key, view.Storage) && storages[view.Storage.Key] != view.Storage)
            throw input.Refuse($"describes storage {Untrusted.Quote(view.Storage.Key)} in two ways.");
        return view;
    }

    private InvalidDataException Unexpected(string what) => input.Refuse($"{what} does not occur in a saved state dict.");

    private int Floor => marks.TryPeek(out var mark) ? mark : 0;

    private void Push(object? value) => stack.Add(value);

    private object? Top() => stack.Count > Floor ? stack[^1] : throw input.Refuse("takes from an empty stack.");

    private object? Pop()
    {
        var value = Top();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private void PopItemOrMark()
    {
        if (stack.Count > Floor)
            stack.RemoveAt(stack.Count - 1);
        else if (!marks.TryPop(out _))
            throw input.Refuse("takes from an empty stack.");
    }

    private object?[] PopMany(int count)
    {
        if (stack.Count - Floor < count)
            throw input.Refuse("takes from an empty stack.");
        return Cut(stack.Count - count);
    }

    private object?[] PopMark() =>
        marks.TryPop(out var mark) ? Cut(mark) : throw input.Refuse("has no mark where one is needed.");

    private object?[] Cut(int start)
    {
        var items = stack.GetRange(start, stack.Count - start).ToArray();
        stack.RemoveRange(start, items.Length);
        return items;
    }

    private void Append(object?[] items)
    {
        if (Top() is not List<object?> list)
            throw input.Refuse("appends to something that is not a list.");
        list.AddRange(items);
    }

    private void SetItems(object?[] pairs)
    {
        if (Top() is not PickleDict dict || pairs.Length % 2 != 0)
            throw input.Refuse("sets items of something that is not a dict.");
        for (var i = 0; i < pairs.Length; i += 2)
            dict.Items.Add(new(pairs[i], pairs[i + 1]));
    }

    private object? Recall(long index) => memo.TryGetValue(index, out var value) ? value
        : throw input.Refuse($"recalls value {index}, which was never kept.");

    private long MemoIndex(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var index) ? index
        : throw input.Refuse("keeps or recalls a value without a number.");

    private object BigNumber(uint length) =>
        length <= LongestNumber ? Narrow(new BigInteger(input.Bytes(length)))
        : throw input.Refuse($"a number has {length} bytes.");

    private object TextNumber(string text) => text switch
    {
        "00" => false,
        "01" => true,
        { Length: <= LongestNumber } when BigInteger.TryParse(
            text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) => Narrow(number),
        _ => throw input.Refuse("a number is not one."),
    };

    private static object Narrow(BigInteger number) =>
        number >= long.MinValue && number <= long.MaxValue ? (object)(long)number : number;

    private double TextDouble(string text) => double.TryParse(text, CultureInfo.InvariantCulture, out var number) ? number
        : throw input.Refuse("a number is not one.");

    private string PlainText(string text) => text.Contains('\\') ? throw input.Refuse("escaped text is not supported.") : text;

    private string Unquote(string text) =>
        text.Length >= 2 && text[0] is '\'' or '"' && text[^1] == text[0] ? PlainText(text[1..^1])
        : throw input.Refuse("text has no quotes.");
}
