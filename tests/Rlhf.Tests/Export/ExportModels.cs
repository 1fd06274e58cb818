using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>Model folders with random weights, large enough that a wrong layer shows, and a tokenizer of the fixtures.</summary>
internal static class ExportModels
{
    /// <summary>The families' fixtures whose configurations are taken, of which llama.cpp and ONNX have each.</summary>
    public static readonly string[] Families =
    [
        "gpt2", "llama", "llama-small", "llama-smol", "llama-bias", "llama-yarn", "mistral", "qwen2", "qwen2-window", "qwen3", "gemma2", "gemma3",
        "phi3", "phi3-partial", "phi3-longrope", "gpt-neox", "gpt-neox-serial", "olmo2", "smollm3",
    ];

    public static string Tokenizer(string name) => Fixtures.Path("tokenizers-modern", name);

    /// <summary>Writes a model folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="family">A configuration of the fixtures.</param>
    /// <param name="tokenizer">The tokenizer's folder.</param>
    /// <param name="change">Changes the configuration.</param>
    /// <param name="storeAs">Element type of the weights; they are rounded to it.</param>
    public static void Write(string folder, string family, string tokenizer, Action<JsonObject>? change = null, ScalarType? storeAs = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var tokens = AutoTokenizer.FromPretrained(tokenizer);
        var json = JsonNode.Parse(File.ReadAllText(Fixtures.Path(family == "gpt2" ? "gpt2-tiny" : Path.Combine("families", family), "config.json")))!.AsObject();
        json["vocab_size"] = tokens.VocabSize;
        json["initializer_range"] = 0.18;
        (json["bos_token_id"], json["eos_token_id"], json["pad_token_id"]) = (tokens.BosTokenId, tokens.EosTokenId, tokens.PadTokenId);
        change?.Invoke(json);
        using var model = AutoModelForCausalLM.FromConfig(ModelConfig.Of(json));
        model.Initialize(seed: 11);
        // Norms and biases begin alike: nothing would show whether they are where they belong.
        using var generator = new Generator(5);
        foreach (var (name, parameter) in model.Parameters)
            if (parameter.dim() == 1)
                parameter.add_(empty_like(parameter).uniform_(-0.2, 0.2, generator));
        model.SavePretrained(folder, storeAs);
        tokens.SavePretrained(folder);
    }

    /// <summary>Logits [T][V] of each row, by this library.</summary>
    public static float[][][] Logits(CausalLM model, int[][] rows)
    {
        using var noGrad = no_grad();
        return [.. rows.Select(row =>
        {
            using var scope = NewDisposeScope();
            using var batch = PackedBatch.FromRows([row]);
            var logits = model.Logits(model.Forward(batch)).to(float32).cpu();
            var all = logits.data<float>().ToArray();
            return all.Chunk(all.Length / row.Length).ToArray();
        })];
    }

    /// <summary>The most likely tokens behind a prompt, and how much likelier each was than the next one, by this library.</summary>
    public static (int[] Ids, float SmallestGap) Continue(CausalLM model, int[] prompt, int count)
    {
        List<int> row = [.. prompt];
        float gap = float.MaxValue;
        for (int i = 0; i < count; i++)
        {
            var best = Logits(model, [[.. row]])[0][^1].Index().OrderByDescending(x => x.Item).Take(2).ToArray();
            gap = Math.Min(gap, best[0].Item - best[1].Item);
            row.Add(best[0].Index);
        }
        return ([.. row.Skip(prompt.Length)], gap);
    }

    /// <summary>Ids that no begin or end token is among.</summary>
    public static int[] RandomRow(int seed, int length, int vocabSize)
    {
        var random = new RandomStream(seed, "export/rows");
        return [.. Enumerable.Range(0, length).Select(_ => random.NextInt32(5, vocabSize))];
    }
}
