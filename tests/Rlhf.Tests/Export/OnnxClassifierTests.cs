using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Rlhf.Export.Onnx;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>Classifiers and reward models as ONNX, run by ONNX Runtime, against transformers' numbers and this library's own.</summary>
public sealed class OnnxClassifierTests
{
    private const double Tolerance = 1e-4;

    /// <summary>Not GPT-2 and the encoders padded on the left: there, transformers counts positions over the padding.</summary>
    public static TheoryData<string, string> Fixed() => new(
        [("bert-tiny", "right"), ("distilbert-tiny", "right"), ("roberta-tiny", "right"), ("families/gpt2-reward", "right"),
         ("families/llama-reward", "right"), ("families/llama-reward", "left"), ("families/qwen2-classifier", "right"),
         ("families/qwen2-classifier", "left")]);

    public static TheoryData<string> All() => [.. OnnxModels.Encoders, .. OnnxModels.Decoders];

    [Theory]
    [MemberData(nameof(Fixed))]
    public void LogitsAreThoseOfTransformers(string name, string layout)
    {
        var expected = FixtureTensors.Load(Fixtures.Path(name + "-expected.safetensors"));
        using var folder = new Fixtures.TemporaryFolder();
        using (var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path(name)))
            OnnxModel.Save(model, folder.Path);
        using var session = OnnxRuns.Open(folder.Path);
        var (logits, shape) = OnnxRuns.Logits(session, expected.Rows(layout + ".input_ids"), expected.Rows(layout + ".attention_mask"));
        Assert.Equal(expected.Shape(layout + ".logits"), shape.Select(d => (long)d));
        AssertClose(expected.Floats(layout + ".logits"), logits);
    }

    /// <summary>One session reads batches of any size and length, padded on either side by whatever ids.</summary>
    [Theory]
    [MemberData(nameof(All))]
    public void LogitsAreOursUnderAnyPadding(string name)
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier(name);
        OnnxModel.Save(model, folder.Path);
        using var session = OnnxRuns.Open(folder.Path);
        AssertOurs(model, session, OnnxModels.Rows(model.Configuration, 1, 3, 9, 1, 6));
        AssertOurs(model, session, OnnxModels.Rows(model.Configuration, 2, 31, 20)); // beyond windows and first lengths of rotary positions
        AssertOurs(model, session, OnnxModels.Rows(model.Configuration, 3, 7));
    }

    /// <summary>A padding token that the mask shows is a token to attention, and none to the head and to RoBERTa's positions.</summary>
    [Theory]
    [MemberData(nameof(All))]
    public void PaddingTokensThatTheMaskShowsAreReadAsWeReadThem(string name)
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier(name, json => json["pad_token_id"] = 1);
        OnnxModel.Save(model, folder.Path);
        using var session = OnnxRuns.Open(folder.Path);
        var rows = OnnxModels.Rows(model.Configuration, 4, 8, 5, 4);
        (rows[0][3], rows[1][3], rows[1][4]) = (1, 1, 1);
        rows[2].AsSpan().Fill(1);
        AssertOurs(model, session, rows);
    }

    [Fact]
    public void DynamicRotaryPositionsGrowWithTheLongestRow()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier("llama", json =>
        {
            json["max_position_embeddings"] = 12;
            json["rope_parameters"] = JsonSerializer.SerializeToNode(new { rope_type = "dynamic", rope_theta = 100.0, factor = 4.0 });
        });
        OnnxModel.Save(model, folder.Path);
        using var session = OnnxRuns.Open(folder.Path);
        AssertOurs(model, session, OnnxModels.Rows(model.Configuration, 1, 12, 5));
        AssertOurs(model, session, OnnxModels.Rows(model.Configuration, 2, 31, 12));
    }

    [Theory]
    [InlineData("bert")]
    [InlineData("llama-small")]
    [InlineData("gpt2")]
    public void HalfStoresMatricesInHalfOfTheRoom(string name)
    {
        using Fixtures.TemporaryFolder whole = new(), half = new();
        using var model = OnnxModels.Classifier(name);
        var (parameters, bytes) = OnnxModel.Save(model, whole.Path);
        var (again, fewer) = OnnxModel.Save(model, half.Path, storesHalf: true);
        Assert.Equal(model.Parameters.ElementCount, parameters);
        Assert.Equal(parameters, again);
        Assert.Equal(2 * model.Parameters.Tensors.Where(p => p.dim() > 1).Sum(p => p.numel()), bytes - fewer, 8192.0); // the graph itself grows a little
        Assert.Equal(new FileInfo(Path.Combine(half.Path, "model.onnx")).Length, fewer);
        OnnxModels.RoundToHalf(model);
        using var session = OnnxRuns.Open(half.Path);
        AssertOurs(model, session, OnnxModels.Rows(model.Configuration, 1, 3, 9, 6));
    }

    [Fact]
    public void WeightsBeyondAFilesLimitGoIntoAFileBeside()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier("llama-small");
        var (_, bytes) = OnnxModel.Save(model, folder.Path, storesHalf: false, mostBytes: 60_000);
        string file = Path.Combine(folder.Path, "model.onnx"), data = file + ".data";
        Assert.InRange(new FileInfo(file).Length, 1, 60_000);
        Assert.Equal(bytes, new FileInfo(file).Length + new FileInfo(data).Length);
        var rows = OnnxModels.Rows(model.Configuration, 1, 3, 9, 6);
        using (var session = OnnxRuns.Open(folder.Path))
            AssertOurs(model, session, rows);

        // A file that holds all takes the place of both.
        OnnxModel.Save(model, folder.Path);
        Assert.Equal(["model.onnx"], Directory.GetFiles(folder.Path).Select(Path.GetFileName));
        using (var session = OnnxRuns.Open(folder.Path))
            AssertOurs(model, session, rows);
    }

    [Fact]
    public void TheFileSaysWhatItTakesAndGives()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier("bert");
        var (_, bytes) = OnnxModel.Save(model, folder.Path);
        Assert.Equal(new FileInfo(Path.Combine(folder.Path, "model.onnx")).Length, bytes);
        using var session = OnnxRuns.Open(folder.Path);
        var metadata = session.ModelMetadata.CustomMetadataMap;
        Assert.Equal("BertForSequenceClassification", metadata["architecture"]);
        Assert.Equal("""["a","b","c"]""", metadata["labels"]);
        Assert.Equal(model.MaxPositions.ToString(System.Globalization.CultureInfo.InvariantCulture), metadata["max_length"]);
        Assert.Equal(["input_ids", "attention_mask"], session.InputNames);
        Assert.Equal(["logits"], session.OutputNames);
    }

    [Fact]
    public void AWeightThatFloat16CannotHoldIsNamedAndNothingIsWritten()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier("distilbert");
        using (no_grad())
            model.Parameters["pre_classifier.weight"][0, 0].fill_(1e6);
        var error = Assert.Throws<ConfigurationException>(() => OnnxModel.Save(model, folder.Path, storesHalf: true));
        Assert.Contains("pre_classifier.weight", error.Message, StringComparison.Ordinal);
        Assert.Contains("float32", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void AnAdapterThatIsNotMergedIsRefused()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = OnnxModels.Classifier("llama-small");
        LoraAdapter.Attach(model, new LoraConfig { R = 2 }, seed: 1);
        var error = Assert.Throws<NotSupportedException>(() => OnnxModel.Save(model, folder.Path));
        Assert.Contains("merge", error.Message, StringComparison.Ordinal);
    }

    private static void AssertOurs(SequenceClassifier model, InferenceSession session, int[][] rows)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var batch = PackedBatch.FromRows(rows);
        var ours = model.Forward(batch).data<float>().ToArray();
        foreach (bool onTheLeft in new[] { false, true })
        {
            var (ids, mask) = OnnxRuns.Pad(rows, onTheLeft, filler: 2);
            var (logits, shape) = OnnxRuns.Logits(session, ids, mask);
            Assert.Equal([rows.Length, model.Labels.Count], shape);
            AssertClose(ours, logits);
        }
    }

    private static void AssertClose(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, Tolerance));
    }
}
