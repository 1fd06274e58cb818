namespace Rlhf.Weights.PyTorch;

/// <summary>Finds the named tensors in what a pickle holds.</summary>
internal static class StateDict
{
    /// <summary>Keys under which training programs keep the state dict, the most usual first.</summary>
    private static readonly string[] UsualKeys = ["state_dict", "model_state_dict", "model", "module"];

    private const int LongestName = 4096;

    /// <summary>The tensors of a dict, or of the state dict inside it; nothing deeper is looked at.</summary>
    /// <exception cref="InvalidDataException">There is no state dict, or more than one and none under a usual key.</exception>
    public static Dictionary<string, PickledTensor> Find(string path, object? root)
    {
        if (root is not PickleDict top)
            throw Untrusted.Refuse(path,
                "the file does not hold a state dict; save it in Python with torch.save(model.state_dict(), path).");
        var own = Tensors(path, top);
        if (own.Count > 0 || top.Items.Count == 0)
            return own;
        var inner = new Dictionary<string, Dictionary<string, PickledTensor>>();
        var seen = new HashSet<PickleDict>(); // one dict may stand under many keys
        foreach (var item in top.Items)
            if (item is { Key: string key, Value: PickleDict dict } && seen.Add(dict)
                && Tensors(path, dict) is { Count: > 0 } tensors)
                inner[key] = tensors;
        if (UsualKeys.FirstOrDefault(inner.ContainsKey) is { } usual)
            return inner[usual];
        return inner.Count == 1 ? inner.Values.Single() : throw Untrusted.Refuse(path, inner.Count == 0
            ? "the file holds a dict without tensors."
            : $"the file holds several dicts of tensors ({string.Join(", ", inner.Keys.Take(10).Select(Untrusted.Quote))}); " +
                "save the one you mean alone.");
    }

    private static Dictionary<string, PickledTensor> Tensors(string path, PickleDict dict)
    {
        var tensors = new Dictionary<string, PickledTensor>();
        foreach (var item in dict.Items)
        {
            if (item is not { Key: string name, Value: PickledTensor tensor })
                continue;
            if (name.Length > LongestName)
                throw Untrusted.Refuse(path, $"the name of a tensor has {name.Length} characters.");
            tensors[name] = tensor;
        }
        return tensors;
    }
}
