using System.Text;
using Rlhf.Cli;
using Rlhf.Cli.Terminal;

Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
Terminals.Wrap();
return CommandLine.Invoke(args);
