using System.Text.Json.Nodes;
using Rlhf.Export;
using Rlhf.LlamaCpp;
using Rlhf.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>Every family as GGUF, opened by llama.cpp: the same logits and the same most likely tokens as here.</summary>
public sealed class GgufModelTests
{
    private const string Bytes = "hard-llama3";

    public static TheoryData<string> Families() => [.. ExportModels.Families];

    /// <summary>llama.cpp computes GELU by a table of 16-bit numbers, and GPT-NeoX's by its tanh form.</summary>
    private static double Limit(string family) => family is "gpt2" or "gpt-neox" or "gpt-neox-serial" or "gemma2" or "gemma3" ? 6e-3 : 3e-5;

    [Theory]
    [MemberData(nameof(Families))]
    public void LlamaCppComputesWhatTheModelComputes(string family) => AssertSame(family, json =>
    {
        if (family is "mistral" or "phi3-partial" or "qwen2-window")
            json["sliding_window"] = 24;
    });

    /// <summary>Rotary positions stretched in the ways that families have them, beyond the length of the first training.</summary>
    [Theory]
    [InlineData("qwen3", """{"rope_type":"yarn","rope_theta":10000,"factor":4,"original_max_position_embeddings":24}""")]
    [InlineData("llama-small", """{"rope_type":"yarn","rope_theta":10000,"factor":4,"original_max_position_embeddings":24,"attention_factor":1.3}""")]
    [InlineData("olmo2", """{"rope_type":"linear","rope_theta":10000,"factor":3}""")]
    [InlineData("gemma3", """{"full_attention":{"rope_type":"linear","rope_theta":500000,"factor":8},"sliding_attention":{"rope_type":"default","rope_theta":20000}}""")]
    public void StretchedPositionsAreLlamaCpps(string family, string rope) =>
        AssertSame(family, json => json["rope_parameters"] = JsonNode.Parse(rope));

    private static void AssertSame(string family, Action<JsonObject> change)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        ExportModels.Write(source, family, ExportModels.Tokenizer(Bytes), change);
        var result = Export(source, target, "f32");
        using var model = AutoModelForCausalLM.FromPretrained(source);
        // Beyond the context that the file says, llama.cpp's family does not slide as the model's layers do. With Phi-3's factors, every
        // text is a long one where the context is long.
        int length = result.Notes.Any(n => n.Contains("sliding window", StringComparison.Ordinal)) ? 24 : 56;
        int shorter = family == "phi3-longrope" ? 26 : length / 2;
        int[][] rows = [ExportModels.RandomRow(1, length, model.VocabSize), ExportModels.RandomRow(2, shorter, model.VocabSize)];
        // A prompt whose likeliest tokens are far enough from the next ones that rounding does not choose between them.
        var (prompt, wanted) = Enumerable.Range(3, 40).Select(seed => ExportModels.RandomRow(seed, shorter, model.VocabSize))
            .Select(p => (p, ExportModels.Continue(model, p, Math.Min(12, length - shorter)))).First(p => p.Item2.SmallestGap > 2 * Limit(family));
        var answers = Llama.Ask(new(target) { Rows = rows, Prompts = [prompt], NewTokens = wanted.Ids.Length });
        Assert.Equal(length == 24 ? 24 : model.MaxPositions, answers.ContextSize);
        AssertClose(ExportModels.Logits(model, rows), answers.Logits, Limit(family));
        Assert.Equal(wanted.Ids, answers.Continuations[0]);
    }

    /// <summary>Phi-3's short factors where the context is no longer than the first training's, the long ones where it is.</summary>
    [Theory]
    [InlineData(512, 200)]
    [InlineData(1024, 600)]
    public void LongRopeTakesItsFactorsByTheContext(int context, int length)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        ExportModels.Write(source, "phi3-longrope", ExportModels.Tokenizer(Bytes), json =>
        {
            json["max_position_embeddings"] = 2048;
            json["original_max_position_embeddings"] = 512;
            json["rope_parameters"]!["original_max_position_embeddings"] = 512;
        });
        var result = Export(source, target, "f32");
        Assert.Contains(result.Notes, n => n.Contains("rotary factors", StringComparison.Ordinal));
        using var model = AutoModelForCausalLM.FromPretrained(source);
        int[][] rows = [ExportModels.RandomRow(3, length, model.VocabSize)];
        var answers = Llama.Ask(new(target) { Rows = rows, ContextSize = (uint)context });
        AssertClose(ExportModels.Logits(model, rows), answers.Logits, 5e-4);
    }

    private static ExportResult Export(string source, string target, string type) =>
        ExportFormats.Of("gguf").Write(new(source, "test"), target, new() { Type = type });

    /// <summary>Largest difference of two sets of logits; fails beyond the limit.</summary>
    private static double AssertClose(float[][][] expected, float[][][] actual, double limit)
    {
        double worst = 0;
        foreach (var (wanted, got) in expected.Zip(actual))
        {
            Assert.Equal(wanted.Length, got.Length);
            foreach (var (w, g) in wanted.Zip(got))
            {
                Assert.Equal(w.Length, g.Length);
                worst = Math.Max(worst, w.Zip(g, (a, b) => (double)Math.Abs(a - b)).Max());
            }
        }
        Assert.Equal(expected.Length, actual.Length);
        Assert.True(worst <= limit, $"Logits differ by up to {worst}.");
        return worst;
    }

    /// <summary>Weights rounded to each type: logits as near as the rounding of this many bits lets them be, and no nearer than a mix-up would.</summary>
    [Theory]
    [InlineData("llama", "f16", 0.05)]
    [InlineData("llama", "bf16", 0.4)]
    [InlineData("llama", "q8_0", 0.7)]
    [InlineData("qwen2", "q8_0", 0.7)]
    [InlineData("gpt2", "q8_0", 0.7)]
    [InlineData("llama", "q4_1", 7)]
    [InlineData("llama", "q4_0", 7)]
    public void SmallerTypesRoundAsTheyMay(string family, string type, double limit)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        ExportModels.Write(source, family, ExportModels.Tokenizer(Bytes), Wider);
        var result = Export(source, target, type);
        Assert.DoesNotContain(result.Notes, n => n.Contains("multiple of", StringComparison.Ordinal));
        using var model = AutoModelForCausalLM.FromPretrained(source);
        int[][] rows = [ExportModels.RandomRow(1, 40, model.VocabSize)];
        var wanted = ExportModels.Logits(model, rows);
        var answers = Llama.Ask(new(target) { Rows = rows });
        double worst = AssertClose(wanted, answers.Logits, limit);
        Assert.True(worst > 1e-5, "Nothing was rounded.");
        // Of the same size as what rounding the weights themselves does here: the logits still point the same way.
        var (a, b) = (wanted[0].SelectMany(l => l).ToArray(), answers.Logits[0].SelectMany(l => l).ToArray());
        double cosine = Dot(a, b) / Math.Sqrt(Dot(a, a) * Dot(b, b));
        Assert.True(cosine > (type[0] == 'q' && type[1] == '4' ? 0.9 : 0.998), $"cosine {cosine}, worst {worst}");

        static double Dot(float[] x, float[] y) => x.Zip(y, (p, q) => (double)p * q).Sum();
    }

    /// <summary>Rows of a multiple of 32 numbers.</summary>
    private static void Wider(JsonObject json)
    {
        if ((string?)json["model_type"] == "gpt2")
            (json["n_embd"], json["n_inner"]) = (64, 128);
        else
            (json["hidden_size"], json["intermediate_size"], json["head_dim"]) = (64, 128, 64 / (int)json["num_attention_heads"]!);
    }

    /// <summary>Rows that are no multiple of a block are kept in 16 bits, which is said.</summary>
    [Fact]
    public void OddRowsStayInSixteenBits()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        ExportModels.Write(source, "llama-small", ExportModels.Tokenizer(Bytes)); // feed-forward layers of 80 numbers
        var result = Export(source, target, "q8_0");
        Assert.Contains(result.Notes, n => n.StartsWith("2 tensors are stored as f16", StringComparison.Ordinal));
        using var model = AutoModelForCausalLM.FromPretrained(source);
        int[][] rows = [ExportModels.RandomRow(1, 20, model.VocabSize)];
        AssertClose(ExportModels.Logits(model, rows), Llama.Ask(new(target) { Rows = rows }).Logits, 0.7);
    }

    /// <summary>Weights that are stored in 16 bits lose nothing on the way through.</summary>
    [Theory]
    [InlineData(ScalarType.BFloat16, "bf16")]
    [InlineData(ScalarType.Float16, "f16")]
    [InlineData(ScalarType.BFloat16, "f32")]
    public void SixteenBitsStayTheSame(ScalarType stored, string type)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf"), exact = Path.Combine(folder.Path, "exact.gguf");
        ExportModels.Write(source, "llama", ExportModels.Tokenizer(Bytes), Wider, stored);
        Export(source, target, type);
        Export(source, exact, "f32");
        using var model = AutoModelForCausalLM.FromPretrained(source);
        int[][] rows = [ExportModels.RandomRow(1, 30, model.VocabSize)];
        var wanted = ExportModels.Logits(model, rows);
        AssertClose(wanted, Llama.Ask(new(exact) { Rows = rows }).Logits, 3e-5);
        // llama.cpp rounds the other factor of a product to the weights' type.
        AssertClose(wanted, Llama.Ask(new(target) { Rows = rows }).Logits, type == "bf16" ? 0.4 : 0.05);
    }
}
