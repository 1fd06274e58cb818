using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>
/// Weights whose names lose what wrappers put before them while training: <c>module.</c> (data parallel) and <c>_orig_mod.</c>
/// (torch.compile), in any order and number.
/// </summary>
internal sealed class RenamedWeights : IWeightSource
{
    private const string Module = "module.", Compiled = "_orig_mod.";
    private readonly IWeightSource weights;
    private readonly Dictionary<string, string> stored;

    private RenamedWeights(IWeightSource weights, Dictionary<string, string> stored) => (this.weights, this.stored) = (weights, stored);

    public string Path => weights.Path;

    public IReadOnlyCollection<string> Names => stored.Keys;

    /// <summary>The weights without such prefixes; as they are where they have none. Owns what it is given.</summary>
    /// <exception cref="InvalidDataException">Two tensors have the same name without them.</exception>
    public static IWeightSource Of(IWeightSource weights)
    {
        var names = weights.Names.ToArray();
        var plain = (string[])names.Clone();
        for (bool changed = true; changed;)
        {
            changed = plain.Any(n => n.Contains(Compiled, StringComparison.Ordinal))
                || plain.Length > 0 && plain.All(n => n.StartsWith(Module, StringComparison.Ordinal));
            plain = Array.ConvertAll(plain, n => n.Replace(Compiled, "", StringComparison.Ordinal));
            if (plain.Length > 0 && plain.All(n => n.StartsWith(Module, StringComparison.Ordinal)))
                plain = Array.ConvertAll(plain, n => n[Module.Length..]);
        }
        if (plain.SequenceEqual(names))
            return weights;
        Dictionary<string, string> stored = [];
        for (int i = 0; i < names.Length; i++)
            if (!stored.TryAdd(plain[i], names[i]))
            {
                weights.Dispose();
                throw Untrusted.Refuse(weights.Path,
                    $"tensors {Untrusted.Quote(stored[plain[i]])} and {Untrusted.Quote(names[i])} are the same without the prefixes of "
                    + "training wrappers (module., _orig_mod.).");
            }
        return new RenamedWeights(weights, stored);
    }

    public long[] Shape(string name) => weights.Shape(Stored(name));

    public ScalarType ElementType(string name) => weights.ElementType(Stored(name));

    public void ReadInto(string name, Tensor destination) => weights.ReadInto(Stored(name), destination);

    public void Dispose() => weights.Dispose();

    private string Stored(string name) => stored.TryGetValue(name, out var there) ? there : throw Untrusted.NoTensor(Path, name);
}
