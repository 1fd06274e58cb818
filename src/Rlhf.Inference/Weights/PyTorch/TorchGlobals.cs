using static TorchSharp.torch;

namespace Rlhf.Weights.PyTorch;

/// <summary>The only names that a pickle may refer to, and what calling them makes: tensors, and dicts to keep them in.</summary>
internal static class TorchGlobals
{
    /// <summary>Keys are short numbers; a long one would be hashed at each use.</summary>
    private const int LongestKey = 256;

    private const string OrderedDict = "collections.OrderedDict";
    private const string RebuildTensor = "torch._utils._rebuild_tensor";
    private const string RebuildTensorV2 = "torch._utils._rebuild_tensor_v2";
    private const string RebuildParameter = "torch._utils._rebuild_parameter";

    private static readonly HashSet<string> Callable = [OrderedDict, RebuildTensor, RebuildTensorV2, RebuildParameter];

    private static readonly Dictionary<string, ScalarType> StorageTypes = new()
    {
        ["torch.FloatStorage"] = ScalarType.Float32,
        ["torch.DoubleStorage"] = ScalarType.Float64,
        ["torch.HalfStorage"] = ScalarType.Float16,
        ["torch.BFloat16Storage"] = ScalarType.BFloat16,
        ["torch.LongStorage"] = ScalarType.Int64,
        ["torch.IntStorage"] = ScalarType.Int32,
        ["torch.ShortStorage"] = ScalarType.Int16,
        ["torch.CharStorage"] = ScalarType.Int8,
        ["torch.ByteStorage"] = ScalarType.Byte,
        ["torch.BoolStorage"] = ScalarType.Bool,
        ["torch.ComplexFloatStorage"] = ScalarType.ComplexFloat32,
        ["torch.ComplexDoubleStorage"] = ScalarType.ComplexFloat64,
    };

    /// <summary>
    /// Up to protocol 2, Python 3 writes some modules under their names in Python 2 and maps them back on reading. A refusal
    /// should show the name that would have been called; no allowed name is among them.
    /// </summary>
    private static readonly Dictionary<string, string> Python3Modules = new()
    {
        ["__builtin__"] = "builtins",
        ["exceptions"] = "builtins",
        ["copy_reg"] = "copyreg",
        ["commands"] = "subprocess",
        ["cPickle"] = "pickle",
        ["thread"] = "_thread",
        ["httplib"] = "http.client",
        ["urllib2"] = "urllib.request",
        ["SocketServer"] = "socketserver",
        ["_winreg"] = "winreg",
    };

    /// <summary>Looks a name up in the list; any other is refused before anything is done with it.</summary>
    public static PickleGlobal Find(PickleInput input, string module, string name)
    {
        var full = $"{Python3Modules.GetValueOrDefault(module, module)}.{name}";
        if (!Callable.Contains(full) && !StorageTypes.ContainsKey(full))
            throw input.Refuse(
                $"refers to the global {Untrusted.Quote(full)}, which is not part of rebuilding tensors; the file is refused. " +
                "If you trust it, save the weights alone in Python: torch.save(model.state_dict(), path).");
        return new(full);
    }

    public static object Call(PickleInput input, object? function, object? arguments)
    {
        if (function is not PickleGlobal { Name: var name } || arguments is not PickleTuple { Items: var items })
            throw input.Refuse("calls something that is not a function.");
        return (name, items) switch
        {
            (OrderedDict, []) => new PickleDict(),
            (OrderedDict, [List<object?> pairs]) => DictOfPairs(input, pairs),
            (RebuildTensor or RebuildTensorV2, [var storage, long offset, PickleTuple shape, PickleTuple strides, .. var rest]) =>
                Tensor(input, storage, offset, Numbers(input, shape), Numbers(input, strides), rest),
            (RebuildParameter, [PickledTensor data, _, _]) => data,
            _ => throw input.Refuse($"calls {name} with arguments that torch does not write."),
        };
    }

    private static PickleDict DictOfPairs(PickleInput input, List<object?> pairs)
    {
        input.Spend(pairs.Count); // one list may be named again and again
        var dict = new PickleDict();
        foreach (var pair in pairs)
            dict.Items.Add(pair switch
            {
                PickleTuple { Items: [var key, var value] } => new(key, value),
                List<object?> and [var key, var value] => new(key, value),
                _ => throw input.Refuse("builds a dict of something that is not pairs."),
            });
        return dict;
    }

    private static long[] Numbers(PickleInput input, PickleTuple tuple)
    {
        if (tuple.Items.Length > Untrusted.MostDimensions)
            throw input.Refuse($"a tensor has {tuple.Items.Length} dimensions, more than {Untrusted.MostDimensions}.");
        return Array.ConvertAll(tuple.Items, item => item is long and >= 0 ? (long)item
            : throw input.Refuse("a shape or strides hold something that is not a whole number from 0."));
    }

    /// <param name="input">For messages.</param>
    /// <param name="storage">A storage, or a part of one.</param>
    /// <param name="offset">Where the tensor begins in the storage, in elements.</param>
    /// <param name="shape">Size of each dimension.</param>
    /// <param name="strides">Steps of each dimension, in elements.</param>
    /// <param name="rest">
    /// requires_grad, hooks and, in newer files, a dict of flags such as "conjugate", which change the values.
    /// </param>
    private static PickledTensor Tensor(
        PickleInput input, object? storage, long offset, long[] shape, long[] strides, object?[] rest)
    {
        if (storage is not PickledStorageView view)
            throw input.Refuse("rebuilds a tensor from something that is not a storage.");
        if (rest is not ([] or [_, _] or [_, _, null or PickleDict { Items.Count: 0 }]))
            throw input.Refuse("rebuilds a tensor with flags that are not supported.");
        if (shape.Length != strides.Length)
            throw input.Refuse($"a tensor has {shape.Length} dimensions but {strides.Length} strides.");
        if (offset < 0 || End(offset, shape, strides) > view.Elements)
            throw input.Refuse($"a tensor of shape {Untrusted.Format<long>(shape)} reaches past the {view.Elements} elements " +
                $"of storage {Untrusted.Quote(view.Storage.Key)}.");
        return new(view.Storage, view.Offset + offset, shape, strides);
    }

    /// <summary>One past the last element that is reached; 0 when there are none.</summary>
    private static Int128 End(long offset, long[] shape, long[] strides)
    {
        if (shape.Contains(0))
            return 0;
        Int128 last = offset;
        for (var i = 0; i < shape.Length && last < long.MaxValue; i++)
            last += (Int128)(shape[i] - 1) * strides[i];
        return last + 1;
    }

    /// <summary>('storage', type, key, device, elements) and, in the older form, None or (view key, offset, elements).</summary>
    public static PickledStorageView PersistentStorage(PickleInput input, object? id)
    {
        if (id is not PickleTuple
            {
                Items: ["storage", PickleGlobal { Name: var type }, string key, _, long elements, .. var rest]
            }
            || key.Length > LongestKey || elements < 0 || !StorageTypes.TryGetValue(type, out var elementType))
            throw input.Refuse("refers to stored data in a form that torch does not write.");
        var storage = new PickledStorage(key, elementType, elements);
        return rest switch
        {
            [] or [null] => new(storage, 0, elements),
            [PickleTuple { Items: [_, long offset, long length] }]
                when offset >= 0 && length >= 0 && length <= elements - offset => new(storage, offset, length),
            _ => throw input.Refuse($"a view of storage {Untrusted.Quote(key)} reaches past its {elements} elements."),
        };
    }
}
