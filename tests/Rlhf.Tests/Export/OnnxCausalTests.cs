using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntime;
using Rlhf.Export.Onnx;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tests.Toys;
using Rlhf.Tokenizers;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>
/// Language models as ONNX, run by ONNX Runtime and ONNX Runtime GenAI, against transformers' numbers and tokens and this library's own: each
/// family, and each form of it that the fixtures have.
/// </summary>
public sealed class OnnxCausalTests
{
    private const double Tolerance = 1e-4;

    public static TheoryData<string> All() => [.. OnnxModels.Decoders];

    public static TheoryData<string> WithGreedyAnswers() => [.. OnnxModels.Decoders.Where(n => n != "gpt2")];

    [Theory]
    [MemberData(nameof(All))]
    public void LogitsAreThoseOfTransformers(string name)
    {
        var expected = Expected(name);
        using var folder = new Fixtures.TemporaryFolder();
        using var model = AutoModelForCausalLM.FromPretrained(Folder(name));
        OnnxModel.Save(model, folder.Path);
        using var session = OnnxRuns.Open(folder.Path);
        foreach (string layout in new[] { "right", "left" })
        {
            int[][] ids = expected.Rows(layout + ".input_ids"), mask = expected.Rows(layout + ".attention_mask");
            var (logits, _) = Step(session, model, ids, mask, null);
            AssertClose(expected.Floats(layout + ".logits"), logits, mask, model.VocabSize);

            // The first half at once, then one token at a time.
            int half = ids[0].Length / 2;
            var wanted = expected.Floats(layout + ".cached_logits");
            NamedOnnxValue[]? past = null;
            for (int done = 0, next = half; done < ids[0].Length; done = next++)
            {
                int[][] Columns(int[][] rows, int start, int end) => [.. rows.Select(r => r[start..end])];
                (logits, past) = Step(session, model, Columns(ids, done, next), Columns(mask, 0, next), past);
                float[] step = [.. Enumerable.Range(0, ids.Length).SelectMany(b =>
                    wanted.AsSpan((b * ids[0].Length + done) * model.VocabSize, (next - done) * model.VocabSize).ToArray())];
                AssertClose(step, logits, Columns(mask, done, next), model.VocabSize);
            }
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void LongRowsAreThoseOfTransformers(string name)
    {
        var expected = Expected(name);
        using var folder = new Fixtures.TemporaryFolder();
        using var model = AutoModelForCausalLM.FromPretrained(Folder(name));
        var (_, _, maxLength) = OnnxModel.Save(model, folder.Path);
        var ids = expected.Rows("full.input_ids");
        if (name == "phi3-longrope")
        {
            Assert.Equal(24, maxLength); // a text longer than that turns all positions otherwise
            return;
        }
        Assert.Equal(model.MaxPositions, maxLength);
        using var session = OnnxRuns.Open(folder.Path);
        int[][] mask = [.. ids.Select(r => r.Select(_ => 1).ToArray())];
        var (logits, _) = Step(session, model, ids, mask, null);
        int vocabulary = model.VocabSize, length = ids[0].Length;
        float[] last = [.. ids.SelectMany((_, b) => logits.AsSpan(((b + 1) * length - 1) * vocabulary, vocabulary).ToArray())];
        AssertClose(expected.Floats("full.last_logits"), last, [.. ids.Select(_ => (int[])[1])], vocabulary);
    }

    [Theory]
    [MemberData(nameof(WithGreedyAnswers))]
    public void GenAiAnswersAsTransformers(string name)
    {
        var expected = Expected(name);
        using var folder = new Fixtures.TemporaryFolder();
        using var model = AutoModelForCausalLM.FromPretrained(Folder(name));
        OnnxModel.Save(model, folder.Path);
        int[][] padded = expected.Rows("greedy.input_ids"), mask = expected.Rows("greedy.attention_mask"), wanted = expected.Rows("greedy.sequences");
        int[][] prompts = [.. padded.Select((row, b) => row.Where((_, t) => mask[b][t] == 1).ToArray())];
        int[][] answers = [.. wanted.Select(row => row[padded[0].Length..])];

        var together = OnnxRuns.Generate(folder.Path, prompts, wanted[0].Length);
        for (int b = 0; b < prompts.Length; b++)
        {
            AssertAnswer(model, answers[b], together[b][padded[0].Length..]);
            var alone = OnnxRuns.Generate(folder.Path, [prompts[b]], prompts[b].Length + answers[b].Length)[0];
            Assert.Equal(prompts[b], alone[..prompts[b].Length]);
            AssertAnswer(model, answers[b], alone[prompts[b].Length..]);
        }
    }

    /// <summary>Weights that make every layer count, in float32, in half, and beside the file.</summary>
    [Theory]
    [MemberData(nameof(All))]
    public void GenAiAnswersAsWe(string name)
    {
        using Fixtures.TemporaryFolder whole = new(), half = new(), split = new();
        using var model = OnnxModels.CausalLM(name);
        var prompts = OnnxModels.Rows(model.Configuration, 8, 6, 3, 9);
        OnnxModel.Save(model, whole.Path);
        AssertSame(whole.Path);
        OnnxModels.RoundToHalf(model);
        OnnxModel.Save(model, half.Path, storesHalf: true);
        AssertSame(half.Path);
        OnnxModel.Save(model, split.Path, storesHalf: true, mostBytes: 10_000);
        Assert.True(File.Exists(Path.Combine(split.Path, "model.onnx.data")));
        AssertSame(split.Path);

        void AssertSame(string folder)
        {
            using var scope = NewDisposeScope();
            var ours = new TextGenerator(model).Generate(prompts, new GenerationConfig { DoSample = false, MaxNewTokens = 12 }, null,
                new RandomStream(0, "unused"));
            var theirs = OnnxRuns.Generate(folder, prompts, prompts.Max(p => p.Length) + 12);
            for (int b = 0; b < prompts.Length; b++)
                AssertAnswer(model, ours.Responses[b], theirs[b][prompts.Max(p => p.Length)..]);
        }
    }

    /// <summary>A folder with the tokenizer's files is all that GenAI needs to answer texts.</summary>
    [Fact]
    public void GenAiReadsTheTokenizer()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");
        Assert.SkipUnless(File.Exists(Path.Combine(source, "model.safetensors")), $"{source} is not here.");
        using var model = AutoModelForCausalLM.FromPretrained(source);
        var tokens = AutoTokenizer.FromPretrained(source);
        OnnxModel.Save(model, folder.Path);
        tokens.SavePretrained(folder.Path);
        const string Text = "This movie is \"so\" good, isn't it? I saw it 3 times:  twice in 1999.";
        var (ids, text) = OnnxRuns.Tokenize(folder.Path, Text);
        Assert.Equal(tokens.Encode(Text), ids);
        Assert.Equal(Text, text);

        using var scope = NewDisposeScope();
        int[] prompt = [.. ids[..5]];
        var ours = new TextGenerator(model).Generate([prompt], new GenerationConfig { DoSample = false, MaxNewTokens = 20 }, null,
            new RandomStream(0, "unused"));
        AssertAnswer(model, ours.Responses[0], OnnxRuns.Generate(folder.Path, [prompt], 25)[0][5..]);
    }

    [Fact]
    public void AnOutputLayerThatIsTheEmbeddingIsStoredOnce()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var tied = OnnxModels.CausalLM("llama-small");
        Assert.True(tied.IsTied);
        var (parameters, bytes, _) = OnnxModel.Save(tied, folder.Path);
        Assert.Equal(tied.Parameters.ElementCount, parameters);
        Assert.InRange(bytes, 4 * parameters, 4 * parameters + 100_000);
    }

    [Fact]
    public void TheConfigurationSaysWhatGenAiAsks()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.CausalLM("llama", json => json["eos_token_id"] = new JsonArray(5, 9));
        OnnxModel.Save(model, folder.Path);
        var json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "genai_config.json")))!["model"]!;
        Assert.Equal("llama", (string)json["type"]!);
        Assert.Equal([5, 9], json["eos_token_id"]!.AsArray().Select(e => (int)e!));
        Assert.Equal(model.MaxPositions, (int)json["context_length"]!);
        Assert.Equal(model.Shape.KeyValueHeads, (int)json["decoder"]!["num_key_value_heads"]!);

        // GenAI's own gpt2 keeps keys and values in one tensor.
        using var gpt2 = OnnxModels.CausalLM("gpt2");
        OnnxModel.Save(gpt2, folder.Path);
        json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "genai_config.json")))!["model"]!;
        Assert.Equal("decoder", (string)json["type"]!);
    }

    [Fact]
    public void AFamilyThatIsNotWrittenAsOnnxIsRefusedByName()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = new Bigram(BigramFamily.Config(10, 4));
        var error = Assert.Throws<NotSupportedException>(() => OnnxModel.Save(model, folder.Path));
        Assert.Contains("BigramForCausalLM", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void WeightsThatAreKeptInInt8AreRefused()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = AutoModelForCausalLM.FromPretrained(Folder("llama"), new ComputePlan(CPU) { Base = BaseStorage.Int8 });
        var error = Assert.Throws<NotSupportedException>(() => OnnxModel.Save(model, folder.Path));
        Assert.Contains("int8", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    private static string Folder(string name) => name == "gpt2" ? Fixtures.Path("gpt2-tiny") : Fixtures.Path("families", name);

    private static FixtureTensors Expected(string name) => FixtureTensors.Load(
        name == "gpt2" ? Fixtures.Path("gpt2-tiny-expected.safetensors") : Fixtures.Path("families", name + "-expected.safetensors"));

    private static (float[] Logits, NamedOnnxValue[] Present) Step(
        InferenceSession session, CausalLM model, int[][] ids, int[][] mask, NamedOnnxValue[]? past) =>
        OnnxRuns.Step(session, ids, mask, past, model.Shape.KeyValueHeads, model.Shape.HeadSize);

    /// <summary>Logits are equal where the mask shows a token.</summary>
    private static void AssertClose(float[] expected, float[] actual, int[][] mask, int vocabulary)
    {
        Assert.Equal(expected.Length, actual.Length);
        int[] flat = [.. mask.SelectMany(r => r)];
        int compared = 0;
        for (int i = 0; i < expected.Length; i++)
            if (flat[i / vocabulary] == 1)
            {
                Assert.Equal(expected[i], actual[i], Tolerance);
                compared++;
            }
        Assert.Equal(flat.Sum() * vocabulary, compared);
    }

    /// <summary>Answers are equal up to their ends; what follows is nothing, or padding.</summary>
    private static void AssertAnswer(CausalLM model, int[] expected, int[] actual)
    {
        int end = Array.FindIndex(expected, model.EosTokenIds.Contains);
        if (end < 0)
        {
            Assert.Equal(expected, actual);
            return;
        }
        Assert.Equal(expected[..end], actual[..end]);
        Assert.All(actual[end..], id => Assert.True(model.EosTokenIds.Contains(id) || id == model.Configuration.PadTokenId, $"{id} after the end"));
    }
}
