using System.Text;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using Rlhf.Weights;
using TorchSharp;

namespace Rlhf.Export;

/// <summary>What formats ask about the model folder that they read.</summary>
internal static class ExportedModel
{
    private const string CardName = "README.md";
    private const int MostCardBytes = 4 << 20;

    /// <summary>The tokenizer, which fits the model.</summary>
    /// <exception cref="InvalidDataException">It does not, or a file is malformed.</exception>
    public static ITokenizer Tokenizer(string folder)
    {
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, ModelShape.Of(folder).VocabSize);
        return tokenizer;
    }

    /// <summary>Names of all stored tensors; of an adapter's folder, the adapter's.</summary>
    public static HashSet<string> StoredNames(string folder)
    {
        using var weights = Open(folder);
        return [.. weights.Names];
    }

    /// <summary>Is it a classifier or reward model? A language model's trunk under a classifier's head is one.</summary>
    public static bool IsClassifier(string folder, IReadOnlySet<string> stored) => !AutoModelForCausalLM.Supports(folder)
        || stored.Any(name => name.EndsWith("score.weight", StringComparison.Ordinal));

    /// <summary>
    /// float32, or 16 bits where all of the weights are stored so: that takes half of the memory and loses nothing. An adapter is merged
    /// in float32.
    /// </summary>
    public static ComputePlan Plan(string folder)
    {
        LibTorch.Initialize();
        if (AdapterFolder.IsAdapter(folder))
            return ComputePlan.Default;
        using var weights = Open(folder);
        var types = weights.Names.Where(n => !CheckpointNames.IsValueHead(n)).Select(weights.ElementType).Distinct().ToArray();
        return types is [torch.ScalarType.BFloat16 or torch.ScalarType.Float16] ? new ComputePlan(torch.CPU, types[0]) : ComputePlan.Default;
    }

    /// <summary>A value of the model card's front matter, such as <c>license</c>; null where there is none.</summary>
    public static string? CardValue(string folder, string key)
    {
        string card = Path.Combine(folder, CardName);
        if (!RegularFile.Exists(card))
            return null;
        var lines = Encoding.UTF8.GetString(BoundedFile.Read(card, MostCardBytes, "a model card")).Split('\n').Select(l => l.TrimEnd('\r'));
        return lines.FirstOrDefault() != "---" ? null : lines.Skip(1).TakeWhile(l => l != "---")
            .Where(l => l.StartsWith(key + ":", StringComparison.Ordinal)).Select(l => l[(key.Length + 1)..].Trim().Trim('"', '\''))
            .FirstOrDefault(v => v.Length is > 0 and < 200 && v[0] is not ('[' or '{' or '|' or '>'));
    }

    /// <summary>Copies the model's card, or writes one where it has none.</summary>
    public static void WriteCard(ExportSource source, string target, ModelCard card)
    {
        string own = Path.Combine(source.Folder, CardName);
        if (RegularFile.Exists(own))
            AtomicFile.Write(Path.Combine(target, CardName), stream => stream.Write(BoundedFile.Read(own, MostCardBytes, "a model card")));
        else
            card.Save(target);
    }

    private static IWeightSource Open(string folder) =>
        AdapterFolder.IsAdapter(folder) ? LoraAdapter.OpenWeights(folder) : WeightFiles.Open(folder);
}
