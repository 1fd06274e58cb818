using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Rlhf.Data;
using Rlhf.Runtime.Files;
using Rlhf.Training.Sft;
using Rlhf.Weights;

namespace Rlhf.Cli.Models;

/// <summary>SHA-256 of what a run works on, to notice on resuming that it has changed.</summary>
internal static class Fingerprint
{
    /// <summary>What the held-out data is called, wherever it comes from.</summary>
    public const string HeldOut = "the held-out data";

    private static readonly string[] ModelFiles = [".json", ".txt", ".model", ".jinja", ".safetensors", ".bin"];

    /// <summary>
    /// Of a model folder: the names and contents of its configuration, tokenizer and weights; of an adapter's, with those of its base.
    /// </summary>
    public static string OfModel(string folder)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 20];
        foreach (var path in Directory.EnumerateFiles(folder).Where(f => ModelFiles.Contains(Path.GetExtension(f)))
            .Order(StringComparer.Ordinal))
        {
            Add(hash, Path.GetFileName(path));
            using var stream = RegularFile.Open(path);
            for (int read; (read = stream.Read(buffer)) > 0;)
                hash.AppendData(buffer, 0, read);
        }
        if (AdapterFolder.IsAdapter(folder))
            Add(hash, OfModel(AdapterFolder.BaseOf(folder)));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Of everything that a training on a policy's own answers works on, by flag.</summary>
    /// <param name="policy">The policy's folder.</param>
    /// <param name="reference">The reference's; null: the policy before training.</param>
    /// <param name="judge">The judge's; null: none.</param>
    /// <param name="train">Queries to train on.</param>
    /// <param name="heldOut">Queries that are only evaluated.</param>
    /// <param name="reward">The reward, under its flag.</param>
    public static Dictionary<string, string> OfRollouts(string policy, string? reference, string? judge, IEnumerable<Query> train, IEnumerable<Query> heldOut,
        (string Flag, string Fingerprint) reward)
    {
        var inputs = new Dictionary<string, string>
        {
            ["--model"] = OfModel(policy),
            [reward.Flag] = reward.Fingerprint,
            ["--ref-model"] = reference is null ? "the policy before training" : OfModel(reference),
            ["--dataset"] = OfTokens(train.Select(q => q.TokenIds)),
            [HeldOut] = OfTokens(heldOut.Select(q => q.TokenIds)),
        };
        if (judge is not null)
            inputs["--judge"] = OfModel(judge);
        return inputs;
    }

    /// <summary>Of sequences to learn, and of where in each the loss begins.</summary>
    public static string OfExamples(IEnumerable<SftExample> examples) =>
        OfTokens(examples.Select(e => (int[])[e.LossStart, .. e.Ids, .. e.Counts?.Select(x => x ? 1 : 0) ?? []]));

    /// <summary>Of rows of token ids, in their order.</summary>
    public static string OfTokens(IEnumerable<int[]> rows)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var row in rows)
        {
            hash.AppendData(MemoryMarshal.AsBytes([row.Length]));
            hash.AppendData(MemoryMarshal.AsBytes<int>(row));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Of texts, in their order.</summary>
    public static string OfTexts(IEnumerable<string> texts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var text in texts)
            Add(hash, text);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static void Add(IncrementalHash hash, string text)
    {
        hash.AppendData(MemoryMarshal.AsBytes([text.Length]));
        hash.AppendData(MemoryMarshal.AsBytes(text.AsSpan())); // as UTF-16, which unlike UTF-8 holds every string
    }
}
