using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Rlhf.Export;

namespace Rlhf.Tests.Docs;

/// <summary>samples/ChatServer: one model, of which Rlhf, llama.cpp and ONNX Runtime GenAI give the same answer by the same endpoint.</summary>
public sealed class ChatServerTests
{
    private const string ChatMl = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
        + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    /// <summary>
    /// The review model continues "This movie was" with " a great movie. I was …"; here the full stop is its end token, so that the answers end before
    /// it. With a template what it reads is no review, and only that the three agree is known.
    /// </summary>
    [Theory]
    [InlineData(false, " a great movie")]
    [InlineData(true, null)]
    public async Task Three_runtimes_give_the_same_answer(bool hasTemplate, string? expected)
    {
        string own = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        string program = Path.Combine(own, "..", "..", "ChatServer", Path.GetFileName(own), "ChatServer.dll");
        Assert.SkipUnless(File.Exists(program), $"{program} was not built.");
        using Fixtures.TemporaryFolder model = new(), exported = new();
        foreach (string file in Directory.GetFiles(Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny")))
            File.Copy(file, Path.Combine(model.Path, Path.GetFileName(file)));
        if (hasTemplate)
            File.WriteAllText(Path.Combine(model.Path, "chat_template.jinja"), ChatMl);
        int stop = Rlhf.Tokenizers.AutoTokenizer.FromPretrained(model.Path).Encode(".").Single();
        foreach (string name in new[] { "config.json", "generation_config.json" })
        {
            string file = Path.Combine(model.Path, name);
            var config = JsonNode.Parse(File.ReadAllText(file))!;
            config["eos_token_id"] = stop;
            File.WriteAllText(file, config.ToJsonString());
        }
        string gguf = Path.Combine(exported.Path, "model.gguf"), onnx = Path.Combine(exported.Path, "onnx");
        ExportFormats.Of("gguf").Write(new(model.Path, "toy"), gguf, new() { Type = "f32" });
        ExportFormats.Of("onnx").Write(new(model.Path, "toy"), onnx, new());
        Rlhf.Tests.Export.Llama.Ask(new(gguf)); // these skip where the native libraries do not load
        Rlhf.Tests.Export.OnnxRuns.Tokenize(onnx, "a");

        using var process = Process.Start(new ProcessStartInfo(
            "dotnet", [program, "--urls", "http://127.0.0.1:0", "--rlhf", model.Path, "--llama", gguf, "--onnx", onnx])
        {
            RedirectStandardOutput = true,
        })!;
        try
        {
            const string Listening = "Now listening on: ";
            string? line;
            do
                line = await process.StandardOutput.ReadLineAsync();
            while (line?.Contains(Listening, StringComparison.Ordinal) == false);
            Assert.NotNull(line);
            var rest = process.StandardOutput.ReadToEndAsync(); // so that the pipe never fills
            using var http = new HttpClient { BaseAddress = new(line[(line.IndexOf(Listening, StringComparison.Ordinal) + Listening.Length)..].Trim()) };
            Assert.Equal<string[]>(["rlhf", "llama", "onnx"], await http.GetFromJsonAsync<string[]>("/chat"));

            // 4 tokens with the end; 3 reach it, 2 do not.
            foreach (int most in new[] { 24, 4, 3, 2 })
            {
                string text = (await Ask("rlhf", most))["text"]!.GetValue<string>();
                if (expected is not null)
                    Assert.Equal(most > 2 ? expected : " a great", text);
                Assert.NotEqual("", text);
                Assert.Equal(text, (await Ask("llama", most))["text"]!.GetValue<string>());
                Assert.Equal((await Ask("rlhf", most)).ToJsonString(), (await Ask("onnx", most)).ToJsonString());
            }

            using var unknown = await http.PostAsJsonAsync("/chat/other", new { text = "x" });
            Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
            Assert.Contains("There is no other here, only rlhf, llama, onnx.", await unknown.Content.ReadAsStringAsync(), StringComparison.Ordinal);

            process.Kill(entireProcessTree: true);
            await rest;

            async Task<JsonNode> Ask(string engine, int most)
            {
                using var answer = await http.PostAsJsonAsync($"/chat/{engine}", new { text = "This movie was", maxTokens = most, greedy = true });
                string body = await answer.Content.ReadAsStringAsync();
                Assert.True(answer.IsSuccessStatusCode, body);
                return JsonNode.Parse(body)!;
            }
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
