using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Microsoft.ML.OnnxRuntimeGenAI;
using SessionOptions = Microsoft.ML.OnnxRuntime.SessionOptions;

namespace Rlhf.Tests.Export;

/// <summary>Runs ONNX files by ONNX Runtime and ONNX Runtime GenAI, which know nothing of this library.</summary>
internal static class OnnxRuns
{
    private static readonly Lazy<string?> Missing = new(() => Problem(() => OrtEnv.Instance().GetVersionString()));
    private static readonly Lazy<string?> GenAiMissing = new(() => Problem(() => Utils.SetLogBool("enabled", false)));

    /// <summary>Opens a file; skips the test where the native library does not load.</summary>
    public static InferenceSession Open(string folder)
    {
        Assert.SkipWhen(Missing.Value is not null, $"ONNX Runtime does not load here: {Missing.Value}");
        using var options = new SessionOptions { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        return new InferenceSession(Path.Combine(folder, "model.onnx"), options);
    }

    /// <summary>Logits of padded rows, one row after another.</summary>
    public static (float[] Values, int[] Shape) Logits(InferenceSession session, int[][] ids, int[][] mask)
    {
        using var results = session.Run([Matrix("input_ids", ids), Matrix("attention_mask", mask)], ["logits"]);
        var tensor = results[0].AsTensor<float>();
        return (tensor.ToArray(), tensor.Dimensions.ToArray());
    }

    /// <summary>Logits of new tokens behind those whose keys and values are given, and the keys and values of all.</summary>
    /// <param name="session">The model.</param>
    /// <param name="ids">New tokens.</param>
    /// <param name="mask">Of all tokens.</param>
    /// <param name="past">What the run before gave; null: there was none.</param>
    /// <param name="heads">Heads of keys and values.</param>
    /// <param name="size">Size of a head.</param>
    public static (float[] Logits, NamedOnnxValue[] Present) Step(
        InferenceSession session, int[][] ids, int[][] mask, NamedOnnxValue[]? past, int heads, int size)
    {
        past ??= [.. session.InputNames.Where(n => n.StartsWith("past", StringComparison.Ordinal)).Select(n =>
            NamedOnnxValue.CreateFromTensor(n, new DenseTensor<float>([ids.Length, heads, 0, size])))];
        using var results = session.Run([Matrix("input_ids", ids), Matrix("attention_mask", mask), .. past]);
        return (results.Single(r => r.Name == "logits").AsTensor<float>().ToArray(),
            [.. results.Where(r => r.Name != "logits").Select(r => NamedOnnxValue.CreateFromTensor(
                r.Name.Replace("present.", "past_key_values.", StringComparison.Ordinal), r.AsTensor<float>().ToDenseTensor()))]);
    }

    /// <summary>Prompts and their most likely continuations by ONNX Runtime GenAI; skips the test where it does not load.</summary>
    /// <param name="folder">Folder of model.onnx and genai_config.json.</param>
    /// <param name="prompts">Token ids of each prompt; they are read as one batch.</param>
    /// <param name="maxLength">Most tokens of a row, prompt and padding included.</param>
    public static int[][] Generate(string folder, int[][] prompts, int maxLength)
    {
        int padding = (int)JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "genai_config.json")))!["model"]!["pad_token_id"]!;
        Assert.SkipWhen(GenAiMissing.Value is not null, $"ONNX Runtime GenAI does not load here: {GenAiMissing.Value}");
        using var model = new Model(folder);
        using var parameters = new GeneratorParams(model);
        parameters.SetSearchOption("max_length", maxLength);
        parameters.SetSearchOption("batch_size", prompts.Length);
        using var generator = new Generator(model, parameters);
        // It takes the padding behind a prompt for padding, and none before.
        generator.AppendTokens([.. Pad(prompts, onTheLeft: false, padding).Ids.SelectMany(r => r)]);
        while (!generator.IsDone())
            generator.GenerateNextToken();
        return [.. prompts.Select((_, b) => generator.GetSequence((ulong)b).ToArray())];
    }

    /// <summary>What ONNX Runtime GenAI reads a text as, and what it makes of that again.</summary>
    public static (int[] Ids, string Text) Tokenize(string folder, string text)
    {
        Assert.SkipWhen(GenAiMissing.Value is not null, $"ONNX Runtime GenAI does not load here: {GenAiMissing.Value}");
        using var model = new Model(folder);
        using var tokenizer = new Tokenizer(model);
        using var sequences = tokenizer.Encode(text);
        int[] ids = sequences[0].ToArray();
        return (ids, tokenizer.Decode(ids));
    }

    /// <summary>Rows of equal length, and which of their tokens are no padding.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="onTheLeft">Where padding stands.</param>
    /// <param name="filler">What stands there.</param>
    public static (int[][] Ids, int[][] Mask) Pad(int[][] rows, bool onTheLeft, int filler)
    {
        int longest = rows.Max(r => r.Length);
        int[][] Padded(Func<int[], IEnumerable<int>> values, int with) => [.. rows.Select(r =>
        {
            int[] padding = [.. Enumerable.Repeat(with, longest - r.Length)];
            return onTheLeft ? [.. padding, .. values(r)] : (int[])[.. values(r), .. padding];
        })];
        return (Padded(r => r, filler), Padded(r => r.Select(_ => 1), 0));
    }

    private static NamedOnnxValue Matrix(string name, int[][] rows) => NamedOnnxValue.CreateFromTensor(name,
        new DenseTensor<long>(rows.SelectMany(r => r.Select(v => (long)v)).ToArray(), [rows.Length, rows[0].Length]));

    private static string? Problem(Action use)
    {
        try
        {
            use();
            return null;
        }
        catch (Exception e) when (e is DllNotFoundException or TypeInitializationException or BadImageFormatException or EntryPointNotFoundException)
        {
            return (e.InnerException ?? e).Message;
        }
    }
}
